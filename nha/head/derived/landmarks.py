"""The 68 iBUG landmarks and two iris points on FLAME's mesh, from our own table."""

from __future__ import annotations

import numpy as np

from nha.head.derived.mesh_graph import MeshGraph
from nha.head.derived.named_vertices import NamedVertices


def derive_landmarks(graph: MeshGraph, named: NamedVertices) -> tuple[np.ndarray, np.ndarray]:
    """Landmark faces [70] (int64, ids of FLAME's triangles) and barycentrics [70, 3] (float32).

    The table's points are where the procedural head has its landmarks, put on FLAME by anatomy: corners and rims
    of lids and lips, the nose's midline, brow and jaw lines. Jaw and brows are a matter of convention to a
    centimetre; see docs/decisions.md for how far they are from the published embedding.
    """
    order = np.sort(graph.faces, axis=1)
    face_ids, barycentric = np.zeros(len(named.landmarks), np.int64), np.zeros((len(named.landmarks), 3))
    for i, landmark in enumerate(named.landmarks):
        weight_of = dict(zip(landmark["vertices"], landmark["weights"], strict=True))
        # one corner or two may be on many triangles; the first one serves
        face_ids[i] = np.flatnonzero(np.isin(order, list(weight_of)).sum(1) == len(weight_of))[0]
        barycentric[i] = [weight_of.get(vertex, 0.0) for vertex in graph.faces[face_ids[i]].tolist()]
    return face_ids, barycentric.astype(np.float32)
