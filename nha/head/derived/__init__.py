"""Parts, landmarks, mouth faces and UV maps of FLAME's mesh where their files are absent.

FLAME 2023 Open comes as one file under CC BY 4.0; the files that the published project adds to FLAME are under
research licences. What they say is worked out here again, from the model's triangles and template and from a
table of named vertices of our own (`descriptions/flame_vertices.json`).
"""

from nha.head.derived.landmarks import derive_landmarks
from nha.head.derived.mouth import close_mouth, open_mesh
from nha.head.derived.named_vertices import NamedVertices, is_flame_mesh, named_vertices
from nha.head.derived.parts import derive_lower_neck, derive_parts
from nha.head.derived.unwrap import unwrap_head

__all__ = [
    "NamedVertices",
    "close_mouth",
    "derive_landmarks",
    "derive_lower_neck",
    "derive_parts",
    "is_flame_mesh",
    "named_vertices",
    "open_mesh",
    "unwrap_head",
]
