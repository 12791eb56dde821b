"""Floor 2: from a portrait video to a dataset folder with landmarks, irises, parsing, masks and normals."""
