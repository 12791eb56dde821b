"""Part labels blurred along the surface: weights of the semantic losses (`docs/method.md`, section 1)."""

from __future__ import annotations

import zlib
from pathlib import Path

import numba
import numpy as np

UNREACHED = 1.0  # metres, the distance of pairs without a short path between them
RELAXATIONS = 5
# Part of the key of the disk cache, so that a change of this file invalidates earlier results.
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
    """Approximate distances along the surface, computed as in the published code.

    Edge lengths are relaxed five times over the k nearest vertices of each vertex. The result differs from exact
    geodesic distances and is not symmetric.

    Args:
        vertices: [V, 3] metres.
        edges: [E, 2] vertex ids.

    Returns:
        float32 [V, V] metres, `UNREACHED` for distant pairs.
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
    """Average of hard labels with Gaussian weights of the surface distance.

    Args:
        vertices: [V, 3] metres.
        edges: [E, 2] vertex ids.
        hard_labels: [V, P], 0 or 1.
        sigma: standard deviation in metres.

    Returns:
        float32 [V, P] in 0..1.
    """
    distance = surface_distances(vertices, edges)
    np.square(distance, out=distance)
    distance *= -1 / (2 * sigma**2)
    np.exp(distance, out=distance)  # the largest exponent of each row is 0, at the vertex itself
    return (distance @ hard_labels.astype(np.float32)) / distance.sum(1, keepdims=True)
