"""Sequences over time: Gaussian smoothing, and rotation vectors without jumps."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_ROWS_AT_A_TIME = 512


def smoothed_over_time(values: Tensor, times: Tensor, sigma: float) -> Tensor:
    """Gaussian smoothing over time.

    Args:
        values: [N, ...].
        times: [N]; need not be evenly spaced.
        sigma: standard deviation in units of `times`; 0 returns the values unchanged.

    Returns:
        [N, ...]. At both ends the mean is over the existing side only.
    """
    if sigma == 0:
        return values
    flat = values.flatten(1)
    times = times.to(flat)
    rows = []
    for some in times.split(_ROWS_AT_A_TIME):
        weights = torch.softmax(-((some[:, None] - times) ** 2) / (2 * sigma**2), dim=1)
        rows.append(weights @ flat)
    return torch.cat(rows).reshape(values.shape)


def continuous_rotations(axis_angle: Tensor, start: Tensor) -> Tensor:
    """Rotation vectors without jumps: each is replaced by the equivalent vector that is closest to its predecessor.

    A head that faces the camera is rotated by about pi, where the vectors of similar rotations can be opposite.

    Args:
        axis_angle: [N, 3] radians.
        start: [3], the predecessor of the first vector.

    Returns:
        [N, 3] radians.
    """
    vectors = []
    for vector in axis_angle:
        length = vector.norm()
        if length > 0:
            other = vector * (1 - 2 * math.pi / length)
            vector = other if (other - start).norm() < (vector - start).norm() else vector
        vectors.append(vector)
        start = vector
    return torch.stack(vectors)
