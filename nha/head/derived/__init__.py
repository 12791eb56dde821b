"""Tables that replace missing files of FLAME: parts, landmarks, mouth faces and UV maps.

FLAME 2023 Open is published as one file under CC BY 4.0. The other files of the published project are adapted from
FLAME and under research licences. Their tables are derived here from the model's triangles and template and from a
table of named vertices made for this project (`descriptions/flame_vertices.json`). `completion` combines the modules.
"""
