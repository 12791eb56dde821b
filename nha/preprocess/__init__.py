"""From a portrait video to a dataset folder with landmarks, irises, parsing, segmentation and normals."""
