"""A triangle mesh as a graph: distances in edges, regions within outlines, ordered loops."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

UNREACHED = np.iinfo(np.int32).max


def _edges(faces: np.ndarray) -> np.ndarray:
    """The directed edges of triangles [F, 3]: [3 F, 2]."""
    return faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)


class MeshGraph:
    """The graph of a triangle mesh's vertices and edges.

    Args:
        faces: [F, 3] vertex ids.
        n_vertices: the number V of vertices.
    """

    def __init__(self, faces: np.ndarray, n_vertices: int) -> None:
        self.faces = np.asarray(faces, np.int64)
        self.n_vertices = n_vertices
        first, second = np.concatenate([_edges(self.faces), _edges(self.faces)[:, ::-1]]).T
        ones = np.ones(len(first), np.int32)
        self._adjacency = csr_matrix((ones, (first, second)), shape=(n_vertices, n_vertices))

    def neighbours(self, vertex: int) -> np.ndarray:
        """Ids of the vertices that share an edge with this one, ascending."""
        return np.unique(self._adjacency.indices[slice(*self._adjacency.indptr[vertex : vertex + 2])])

    def steps_from(self, sources: Iterable[int]) -> np.ndarray:
        """The smallest number of edges from any source to each vertex: int [V], `UNREACHED` without a path."""
        steps = np.full(self.n_vertices, UNREACHED, np.int32)
        front = np.zeros(self.n_vertices, bool)
        front[list(sources)] = True
        count = 0
        while front.any():
            steps[front] = count
            front = (self._adjacency @ front.astype(np.int32) > 0) & (steps == UNREACHED)
            count += 1
        return steps

    def fill(self, inside: int, walls: Iterable[int]) -> np.ndarray:
        """The vertices connected to `inside` by paths that avoid `walls`: bool [V], walls excluded."""
        free = np.setdiff1d(np.arange(self.n_vertices), list(walls))
        _, component = connected_components(self._adjacency[free][:, free], directed=False)
        filled = np.zeros(self.n_vertices, bool)
        filled[free] = component == component[np.searchsorted(free, inside)]
        return filled

    def border_loop(self, start: int) -> list[int]:
        """The vertices of the open border through `start`, in the direction of its triangles' edges."""
        directed = set(map(tuple, _edges(self.faces).tolist()))
        following = {a: b for a, b in directed if (b, a) not in directed}
        loop = [start]
        while following[loop[-1]] != start:
            loop.append(following[loop[-1]])
        return loop

    def ring_loop(self, members: np.ndarray, start: int) -> list[int]:
        """The members (bool [V]) of a ring in order, from `start`. Raises ValueError if they form no ring."""
        loop, left = [start], {int(i) for i in np.flatnonzero(members)} - {start}
        while left:
            after = [i for i in self.neighbours(loop[-1]).tolist() if i in left]
            if not after:
                raise ValueError(f"vertex {loop[-1]} has no next neighbour in the ring")
            loop.append(after[0])
            left.remove(after[0])
        if start not in self.neighbours(loop[-1]):
            raise ValueError("the ring is not closed")
        return loop
