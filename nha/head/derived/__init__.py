"""Parts, landmarks, mouth faces and UV maps of FLAME's mesh where their files are absent.

FLAME 2023 Open comes as one file under CC BY 4.0; the files that the published project adds to FLAME are under
research licences. What they say is worked out here again, from the model's triangles and template and from a
table of named vertices of our own (`descriptions/flame_vertices.json`). `nha.head.derived.completion` puts it together.
"""
