"""Interpolation of schedules between fix points."""

from __future__ import annotations

import itertools
from collections.abc import Sequence


def _locate(fix_points: Sequence[Sequence[float]], epoch: float) -> tuple[float, float, float]:
    """The two values around `epoch` and the position between them in 0..1."""
    points = sorted(((float(e), float(v)) for v, e in fix_points), key=lambda point: point[0])
    if epoch <= points[0][0]:
        return points[0][1], points[0][1], 0.0
    for (e0, v0), (e1, v1) in itertools.pairwise(points):
        if epoch < e1:
            return v0, v1, (epoch - e0) / (e1 - e0)
    return points[-1][1], points[-1][1], 0.0


def linear_between(fix_points: Sequence[Sequence[float]], epoch: float) -> float:
    """Linear interpolation between [value, epoch] fix points, constant outside. `docs/method.md`, section 4."""
    v0, v1, t = _locate(fix_points, epoch)
    return v0 + (v1 - v0) * t


def geometric_between(fix_points: Sequence[Sequence[float]], epoch: float) -> float:
    """Geometric interpolation v0 (v1/v0)^t between [value, epoch] fix points, constant outside."""
    v0, v1, t = _locate(fix_points, epoch)
    if v0 == v1 or t == 0:
        return v0
    return v0 * (v1 / v0) ** t
