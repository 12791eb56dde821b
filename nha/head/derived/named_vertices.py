"""Our own table of named vertices on FLAME's mesh, and the check that a mesh is FLAME's."""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_FILE = Path(__file__).resolve().parents[1] / "descriptions" / "flame_vertices.json"
SIDES = ("left", "right")  # the person's


@dataclass(frozen=True)
class NamedVertices:
    """Vertex ids of FLAME's mesh, by name; left and right are the person's.

    eye_socket_pole: the vertex at the bottom of each eye socket, around which the lids lie in rings;
    eyeball_front_pole, eyeball_back_pole: middle of each pupil and the vertex opposite;
    mouth_corner, lip_contact_middle: on the ring where the lips meet;
    neck_boundary, mouth_boundary: one vertex of each of the mesh's two open borders;
    inside: one vertex in the midst of each region; outlines: closed chains of neighbouring vertices around
    regions (the last is the first one's neighbour); lines: open chains;
    landmarks: 70 times vertices and their weights (which add up to 1).
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
    """The table that comes with this package."""
    content = json.loads(_FILE.read_text(encoding="utf-8"))
    return NamedVertices(**{key: value for key, value in content.items() if key != "about"})


def triangles_sha256(faces: np.ndarray) -> str:
    """A hash of triangles [F, 3] that their order and their first corners do not change, but their sides do."""
    faces = np.asarray(faces, np.int64)
    turned = faces[np.arange(len(faces))[:, None], (faces.argmin(1)[:, None] + np.arange(3)) % 3]
    in_order = turned[np.lexsort(turned.T[::-1])]
    return hashlib.sha256(np.ascontiguousarray(in_order, "<i4").tobytes()).hexdigest()


def is_flame_mesh(faces: np.ndarray) -> bool:
    """Whether these triangles [F, 3] are FLAME's: the named vertices mean something on no other mesh."""
    return triangles_sha256(faces) == named_vertices().triangles_sha256
