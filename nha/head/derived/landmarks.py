"""Estimates of the 68 iBUG landmarks and two irises on FLAME's mesh."""

from __future__ import annotations

import numpy as np

from nha.head.derived.mesh_graph import MeshGraph
from nha.head.derived.named_vertices import NamedVertices


def derive_landmarks(graph: MeshGraph, named: NamedVertices) -> tuple[np.ndarray, np.ndarray]:
    """The landmarks in the table of named vertices as points on triangles.

    The points were placed by anatomy, as on the procedural head: corners and edges of eyelids and lips, the midline
    of the nose, the lines of brows and jaw. Conventions for jaw and brows differ by a centimetre; docs/decisions.md
    lists the distances to the published embedding.

    Args:
        graph: FLAME's triangles in the order of the mesh file.
        named: the table.

    Returns:
        Ids of triangles [70] (int64) and barycentric coordinates [70, 3] (float32).
    """
    order = np.sort(graph.faces, axis=1)
    face_ids, barycentric = np.zeros(len(named.landmarks), np.int64), np.zeros((len(named.landmarks), 3))
    for i, landmark in enumerate(named.landmarks):
        weight_of = dict(zip(landmark["vertices"], landmark["weights"], strict=True))
        # a point at a vertex or on an edge belongs to several triangles: the first one is used
        face_ids[i] = np.flatnonzero(np.isin(order, list(weight_of)).sum(1) == len(weight_of))[0]
        barycentric[i] = [weight_of.get(vertex, 0.0) for vertex in graph.faces[face_ids[i]].tolist()]
    return face_ids, barycentric.astype(np.float32)
