"""Named vertices of FLAME's mesh (`descriptions/flame_vertices.json`) and a test that a mesh is FLAME's."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nha.core.json_file import read_json

_FILE = Path(__file__).resolve().parents[1] / "descriptions" / "flame_vertices.json"
SIDES = ("left", "right")  # of the person


@dataclass(frozen=True)
class NamedVertices:
    """Vertex ids of FLAME's mesh by name; left and right are those of the person.

    Attributes:
        triangles_sha256: `triangles_sha256` of FLAME's triangles.
        eye_socket_pole: the vertex at the bottom of each eye socket. The eyelids form rings around it.
        eyeball_front_pole, eyeball_back_pole: the centre of each pupil and the opposite vertex.
        mouth_corner, lip_contact_middle: vertices of the ring along which the lips touch.
        neck_boundary, mouth_boundary: one vertex on each of the mesh's two open borders.
        inside: one vertex inside each region.
        outlines: closed chains of adjacent vertices around regions.
        lines: open chains of adjacent vertices.
        landmarks: 70 entries of vertices and their weights, which add up to 1.
    """

    triangles_sha256: str
    eye_socket_pole: dict[str, int]
    eyeball_front_pole: dict[str, int]
    eyeball_back_pole: dict[str, int]
    mouth_corner: dict[str, int]
    lip_contact_middle: dict[str, int]
    neck_boundary: int
    mouth_boundary: int
    inside: dict[str, int]
    outlines: dict[str, list[int]]
    lines: dict[str, list[int]]
    landmarks: list[dict[str, list]]


@functools.cache
def named_vertices() -> NamedVertices:
    """The table in this package."""
    content = read_json(_FILE)
    return NamedVertices(**{key: value for key, value in content.items() if key != "about"})


def triangles_sha256(faces: np.ndarray) -> str:
    """A hash of triangles [F, 3] that is independent of their order and of each triangle's first corner."""
    faces = np.asarray(faces, np.int64)
    rotated = faces[np.arange(len(faces))[:, None], (faces.argmin(1)[:, None] + np.arange(3)) % 3]
    in_order = rotated[np.lexsort(rotated.T[::-1])]
    return hashlib.sha256(np.ascontiguousarray(in_order, "<i4").tobytes()).hexdigest()


def is_flame_mesh(faces: np.ndarray) -> bool:
    """Whether these triangles [F, 3] are FLAME's, so that the named vertices apply."""
    return triangles_sha256(faces) == named_vertices().triangles_sha256
