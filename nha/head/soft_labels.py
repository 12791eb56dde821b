"""Part labels blurred along the surface, the weights of the semantic losses. Method, section 1."""

from __future__ import annotations

import zlib
from pathlib import Path

import numba
import numpy as np

UNREACHED = 1.0  # metres: the distance of all pairs that no short path joins
RELAXATIONS = 5
# Results are kept on disk: what another state of this file has computed must not be taken for its own.
SOFT_LABELS_VERSION = zlib.crc32(Path(__file__).read_bytes())


@numba.njit(parallel=True, cache=True)
def _relax(distance: np.ndarray, nearest: np.ndarray) -> np.ndarray:
    count, k = nearest.shape
    relaxed = np.empty_like(distance)
    for i in numba.prange(count):
        row = distance[i].copy()
        for n in range(k):
            j = nearest[i, n]
            step = distance[i, j]
            if step < UNREACHED:  # a longer step cannot shorten anything below UNREACHED
                for m in range(count):
                    row[m] = min(row[m], step + distance[j, m])
        relaxed[i] = row
    return relaxed


def surface_distances(vertices: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Approximate distances along the surface, as published: edge lengths relaxed five times over each
    vertex's k nearest. Not exact geodesics and not symmetric, on purpose.

    vertices: [V, 3] metres; edges: [E, 2]. Returns float32 [V, V], `UNREACHED` where far apart.
    """
    count = len(vertices)
    distance = np.full((count, count), UNREACHED, np.float32)
    np.fill_diagonal(distance, 0)
    lengths = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1)
    distance[edges[:, 0], edges[:, 1]] = lengths
    distance[edges[:, 1], edges[:, 0]] = lengths
    k = int(2 * ((distance < UNREACHED).sum(1) - 1).mean())
    for _ in range(RELAXATIONS):
        nearest = np.argpartition(distance, k - 1, axis=1)[:, :k]
        distance = _relax(distance, nearest)
    return distance


def soft_labels(vertices: np.ndarray, edges: np.ndarray, hard_labels: np.ndarray, sigma: float) -> np.ndarray:
    """Hard labels averaged with Gaussian weights of the surface distance.

    vertices: [V, 3]; edges: [E, 2]; hard_labels: [V, P] 0/1; sigma in metres. Returns float32 [V, P] in 0..1.
    """
    distance = surface_distances(vertices, edges)
    np.square(distance, out=distance)
    distance *= -1 / (2 * sigma**2)
    np.exp(distance, out=distance)  # the largest exponent of each row is 0, at the vertex itself
    return (distance @ hard_labels.astype(np.float32)) / distance.sum(1, keepdims=True)
