"""Sequences of values over time: smoothing, and rotation vectors without jumps."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_ROWS_AT_A_TIME = 512


def smoothed_over_time(values: Tensor, times: Tensor, sigma: float) -> Tensor:
    """A Gaussian mean over neighbours in time: [N, ...] of values [N, ...] at times [N].

    sigma: in units of the times; 0 changes nothing. Times need not be evenly spaced; at both ends the mean is over
    the one side that there is.
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
    """Rotation vectors [N, 3], each replaced by that vector of the same rotation which is next to its predecessor.

    start: [3], the first one's predecessor. A head that faces the camera is turned by pi, where vectors of neighbouring
    rotations may point opposite ways.
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
