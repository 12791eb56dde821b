"""Faces that close FLAME's mouth, with their own UV map, and removal of such faces."""

from __future__ import annotations

import numpy as np

from nha.head.assets import MeshTopology
from nha.head.derived.mesh_graph import MeshGraph
from nha.head.derived.named_vertices import SIDES, NamedVertices
from nha.head.derived.parts import LIP_CONTACT_RING, mouth_steps

_UV_RADIUS = 0.45


def close_mouth(mesh: MeshTopology, graph: MeshGraph, named: NamedVertices) -> MeshTopology:
    """Append a strip of triangles between the lips where they touch (`docs/method.md`, section 1).

    The ring of contact has 32 vertices, so there are 30 triangles, with the orientation of the outer lips. On the
    mouth's UV map the ring is a circle, with u to the person's left and v up.

    Args:
        mesh: FLAME's mesh without faces that close the mouth.
        graph: the graph of the same triangles.
        named: the named vertices.
    """
    left, right = (named.mouth_corner[side] for side in SIDES)
    ring = graph.ring_loop(mouth_steps(graph, named) == LIP_CONTACT_RING, left)
    to_right = ring.index(right)
    first, second = ring[: to_right + 1], [left, *reversed(ring[to_right:])]
    upper, lower = (first, second) if named.lip_contact_middle["upper"] in first else (second, first)
    faces = np.array(_strip(upper, lower), np.int64)

    angle_rad = {v: np.pi * i / (len(upper) - 1) for i, v in enumerate(upper)}
    angle_rad |= {v: -np.pi * i / (len(lower) - 1) for i, v in enumerate(lower) if v not in angle_rad}
    uvs = 0.5 + _UV_RADIUS * np.array([[np.cos(angle_rad[v]), np.sin(angle_rad[v])] for v in ring])
    place = {v: len(mesh.uvs) + i for i, v in enumerate(ring)}
    uv_faces = np.array([[place[v] for v in face] for face in faces.tolist()], np.int64)
    return MeshTopology(
        np.concatenate([mesh.faces, faces]),
        np.concatenate([mesh.uvs, uvs]),
        np.concatenate([mesh.uv_faces, uv_faces]),
    )


def _strip(upper: list[int], lower: list[int]) -> list[tuple[int, int, int]]:
    """Triangles between two vertex chains with common ends, counter-clockwise seen from the front.

    upper, lower: vertices from the person's left to the right.
    """
    i = j = 1
    last_i, last_j = len(upper) - 2, len(lower) - 2
    triangles = [(upper[0], upper[1], lower[1])]
    while (i, j) != (last_i, last_j):
        # advance on the chain that is further behind
        if i < last_i and (j == last_j or i * last_j <= j * last_i):
            triangles.append((upper[i], upper[i + 1], lower[j]))
            i += 1
        else:
            triangles.append((lower[j], upper[i], lower[j + 1]))
            j += 1
    triangles.append((upper[-1], lower[-2], upper[-2]))
    return triangles


def open_mesh(closed: MeshTopology, graph: MeshGraph) -> MeshTopology:
    """The mesh without the faces that close its mouth. graph: the graph of FLAME's own triangles."""
    own = {tuple(sorted(face)) for face in graph.faces.tolist()}
    kept = np.array([tuple(sorted(face)) in own for face in closed.faces.tolist()])
    uv_faces = closed.uv_faces[kept]
    return MeshTopology(closed.faces[kept], closed.uvs[: uv_faces.max() + 1], uv_faces)
