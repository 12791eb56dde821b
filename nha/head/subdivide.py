"""Subdivision of triangles at their edge midpoints, in the published order (`docs/method.md`, section 1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Subdivision:
    """A mesh after one subdivision of S of its F faces.

    Attributes:
        faces: [F + 4 S, 3], all old faces, then four children of each split face.
        edges: [E, 2], the two old vertices of each new one. New vertices are numbered after the old ones.
    """

    faces: np.ndarray
    edges: np.ndarray

    def extend(self, values: np.ndarray) -> np.ndarray:
        """Append the mean of each edge's two ends to per-vertex values [V, ...]; returns [V + E, ...]."""
        return np.concatenate([values, (values[self.edges[:, 0]] + values[self.edges[:, 1]]) / 2])

    def extend_membership(self, member: np.ndarray) -> np.ndarray:
        """Append to bool [V, ...]: a new vertex is a member if both ends of its edge are; returns [V + E, ...]."""
        return np.concatenate([member, member[self.edges[:, 0]] & member[self.edges[:, 1]]])


def subdivide(faces: np.ndarray, split: np.ndarray, n_vertices: int) -> Subdivision:
    """Split faces into four.

    New vertices are numbered in the order in which their undirected edges first appear in the list of the split
    faces' edges (a,b)(b,c)(c,a). The children of (a,b,c) are (a,ab,ca) (ab,b,bc) (ca,ab,bc) (ca,bc,c).

    Args:
        faces: [F, 3] vertex ids.
        split: bool [F], the faces to split.
        n_vertices: the number of vertices before the subdivision.
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
