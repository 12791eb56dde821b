"""Splitting triangles in four at their edge midpoints, in the published order. Method, section 1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Subdivision:
    """faces: [F + 4 S, 3] the old faces, then four children for each of the S split ones;
    edges: [E, 2] the old ids between which each new id (n_before, n_before + 1, ...) lies."""

    faces: np.ndarray
    edges: np.ndarray

    def extend(self, values: np.ndarray) -> np.ndarray:
        """Append the mean of each edge's ends to per-vertex values [V, ...]."""
        return np.concatenate([values, (values[self.edges[:, 0]] + values[self.edges[:, 1]]) / 2])

    def extend_membership(self, member: np.ndarray) -> np.ndarray:
        """Append to bool [V, ...]: a new vertex belongs where both ends of its edge do."""
        return np.concatenate([member, member[self.edges[:, 0]] & member[self.edges[:, 1]]])


def subdivide(faces: np.ndarray, split: np.ndarray, n_vertices: int) -> Subdivision:
    """Split the faces where `split` [F] is set.

    New vertices are numbered by the first appearance of their undirected edge, walking the split triangles in
    order and their edges (a,b)(b,c)(c,a). Children of (a,b,c): (a,ab,ca) (ab,b,bc) (ca,ab,bc) (ca,bc,c).
    """
    parents = faces[split]
    directed = parents[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    key = directed.min(1).astype(np.int64) * n_vertices + directed.max(1)
    _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    midpoints = n_vertices + rank[inverse].reshape(-1, 3)
    (a, b, c), (ab, bc, ca) = parents.T, midpoints.T
    children = np.stack([a, ab, ca, ab, b, bc, ca, ab, bc, ca, bc, c], 1).reshape(-1, 3)
    return Subdivision(np.concatenate([faces, children]), directed[first[order]])
