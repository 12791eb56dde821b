"""Values at vertices that no frame shows, continued from their seen neighbours over the mesh, and smooth values."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix, diags, eye
from scipy.sparse.linalg import splu

_GROUND = 1e-9  # keeps the system regular where a free part of the mesh has no held neighbours


def continue_values(
    values: np.ndarray,
    free: np.ndarray,
    edges: np.ndarray,
    edge_weights: np.ndarray | None = None,
    bend: float = 0.0,
    differences: np.ndarray | None = None,
    pull: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    """Replace the values of free vertices.

    They minimise the weighted squared differences along edges plus `bend` times the squared Laplacian, with the other
    values held. Without `bend` they stay within the range of the held values; with it they continue their slope.

    Args:
        values: [V, C].
        free: bool [V], the vertices whose values are replaced.
        edges: [E, 2] vertex ids.
        edge_weights: [E]; None for 1.
        bend: weight of the squared Laplacian.
        differences: [E, C] that the values should have from the first to the second end of an edge; None for 0.
        pull: weights [V] of squared differences from a value [C], and that value; None for none.

    Returns:
        [V, C] in the type of `values`; the values of the other vertices are the same.
    """
    if not free.any() or free.all():
        return values.copy()
    laplacian = _graph_laplacian(edges, edge_weights, len(values))
    energy = laplacian + bend * (laplacian.T @ laplacian)
    energy = (energy + _GROUND * eye(len(values))).tocsr()
    inside, outside = np.flatnonzero(free), np.flatnonzero(~free)
    wanted = np.zeros(values.shape)
    if differences is not None:
        weighted = differences if edge_weights is None else differences * edge_weights[:, None]
        np.subtract.at(wanted, edges[:, 0], weighted)
        np.add.at(wanted, edges[:, 1], weighted)
    if pull is not None:
        energy = (energy + diags(pull[0])).tocsr()
        wanted += pull[0][:, None] * pull[1]
    right = wanted[inside] - energy[inside][:, outside] @ values[outside].astype(np.float64)
    filled = values.copy()
    filled[inside] = splu(energy[inside][:, inside].tocsc()).solve(right)
    return filled


def smoothed_values(
    values: np.ndarray, edges: np.ndarray, edge_weights: np.ndarray, times: int
) -> np.ndarray:
    """Values [V, C], averaged with their neighbours: a vertex has weight 1, its edges [E, 2] have theirs [E]."""
    laplacian = _graph_laplacian(edges, edge_weights, len(values))
    share = diags(1 / (1 + laplacian.diagonal()))
    for _ in range(times):
        values = values - share @ (laplacian @ values)
    return values


def _graph_laplacian(edges: np.ndarray, edge_weights: np.ndarray | None, n_vertices: int) -> csr_matrix:
    weights = np.ones(len(edges)) if edge_weights is None else edge_weights
    both = np.concatenate([edges, edges[:, ::-1]])
    shape = (n_vertices, n_vertices)
    adjacency = coo_matrix((np.tile(weights, 2), (both[:, 0], both[:, 1])), shape=shape).tocsr()
    degree = np.asarray(adjacency.sum(1)).ravel()
    return (diags(degree) - adjacency).tocsr()
