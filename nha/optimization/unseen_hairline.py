"""The hairline where no frame shows it, continued from where frames do. `docs/method.md`, section 3."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from nha.avatar.mesh_fill import continue_values, smoothed_values

FARTHEST = 0.03  # metres from the hairline that are told apart
_RANGE = 0.1  # metres from it to which a shift of the hairline is measured
_SMOOTHING = (
    4  # times that the distances are averaged with their neighbours, so that they ignore single triangles
)


def hairline_distance(
    position: np.ndarray, hair: np.ndarray, known: np.ndarray, usual: np.ndarray, edges: np.ndarray
) -> np.ndarray:
    """The distance of each vertex to the hairline, also of vertices whose hair is not known.

    The head model has a usual hairline. How far the known one lies from it is continued over the mesh, so that the
    hairline of the nape joins those of both sides.

    Args:
        position: [V, 3] of the resting head, in metres.
        hair: bool [V], vertices with hair; any value where it is not known.
        known: bool [V].
        usual: bool [V], vertices with hair in the head model.
        edges: [E, 2] vertex ids.

    Returns:
        [V] metres, positive in hair and negative beside it, at most `FARTHEST`.
    """
    expected = _signed_distance(position, usual, np.ones(len(usual), bool))
    measured = _signed_distance(position, hair, known)
    if known.any():
        shift = measured - _signed_distance(position, usual, known)  # both as far as vertices are known
        shift = continue_values(shift[:, None], ~known, edges)[:, 0]
        expected = np.where(known, measured, expected + shift)
    smooth = smoothed_values(expected[:, None], edges, np.ones(len(edges)), _SMOOTHING)[:, 0]
    return np.clip(smooth, -FARTHEST, FARTHEST)


def _signed_distance(position: np.ndarray, hair: np.ndarray, known: np.ndarray) -> np.ndarray:
    """[V] metres to the nearest known vertex on the other side of the hairline, positive in hair."""
    distances = [np.full(len(position), _RANGE) for _ in range(2)]
    for distance, group in zip(distances, (known & ~hair, known & hair), strict=True):
        if group.any():
            distance[:] = np.minimum(cKDTree(position[group]).query(position)[0], _RANGE)
    without, with_hair = distances
    return np.clip(np.where(hair, without, 0) - np.where(hair, 0, with_hair), -_RANGE, _RANGE)
