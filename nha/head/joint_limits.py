"""Smooth limits of joint angles, which are a tanh of unbounded parameters (`docs/method.md`, section 1)."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from nha.core.constants import constant

# (minimum, maximum) in degrees of the rotations about x (positive looks or opens downwards), y and z.
NECK_LIMITS_DEG = ((-90.0, 90.0), (-60.0, 60.0), (-80.0, 80.0))
JAW_LIMITS_DEG = ((-5.0, 60.0), (-0.1, 0.1), (-0.1, 0.1))
EYE_LIMITS_DEG = ((-50.0, 50.0), (-50.0, 50.0), (-0.1, 0.1))
EYES_LIMITS_DEG = EYE_LIMITS_DEG + EYE_LIMITS_DEG

Limits = tuple[tuple[float, float], ...]


def _bounds_rad(limits_deg: Limits, like: Tensor) -> tuple[Tensor, Tensor]:
    """Lower and upper limits in radians, rounded from float64 to the type of `like`."""
    low, high = _limits_rad(limits_deg)
    return constant(low, like), constant(high, like)


@functools.cache  # called several times for every pose
def _limits_rad(limits_deg: Limits) -> tuple[tuple[float, ...], tuple[float, ...]]:
    low, high = torch.deg2rad(torch.tensor(limits_deg, dtype=torch.float64)).unbind(1)
    return tuple(low.tolist()), tuple(high.tolist())


def angles_from_params(params: Tensor, limits_deg: Limits) -> Tensor:
    """Angles of unbounded parameters: min + (tanh(x) + 1) / 2 * (max - min), per axis.

    Args:
        params: [..., A].
        limits_deg: A pairs of minimum and maximum in degrees.

    Returns:
        [..., A] radians.
    """
    low, half_range = lower_limit_and_half_range(limits_deg, params)
    return low + (torch.tanh(params) + 1) * half_range


def lower_limit_and_half_range(limits_deg: Limits, like: Tensor) -> tuple[Tensor, Tensor]:
    """Lower limits and half of the ranges in radians, in the type of `like`; constants that must not be written to."""
    return _bounds_rad(limits_deg, like)[0], constant(_half_ranges(limits_deg, like.dtype), like)


@functools.cache
def _half_ranges(limits_deg: Limits, dtype: torch.dtype) -> tuple[float, ...]:
    low, high = _bounds_rad(limits_deg, torch.empty(0, dtype=dtype))
    return tuple(((high - low) / 2).tolist())


def params_from_angles(angles_rad: Tensor, limits_deg: Limits) -> Tensor:
    """The inverse of `angles_from_params`. Angles are first clipped to 1 % of the range inside their limits.

    Args:
        angles_rad: [..., A].
        limits_deg: A pairs of minimum and maximum in degrees.

    Returns:
        Unbounded parameters [..., A].
    """
    low, high = _bounds_rad(limits_deg, angles_rad)
    margin = 0.01 * (high - low)
    inside = torch.maximum(torch.minimum(angles_rad, high - margin), low + margin)
    return torch.atanh((inside - low) / (high - low) * 2 - 1)


def neutral_params(limits_deg: Limits) -> Tensor:
    """The parameters [A] at which every angle is zero: atanh(-2 min / (max - min) - 1)."""
    low, high = torch.tensor(limits_deg, dtype=torch.float64).unbind(1)
    return torch.atanh(-2 * low / (high - low) - 1).to(torch.float32)


def neck_angles(neck: Tensor) -> Tensor:
    """Axis-angle of the neck joint: [N, 3] unbounded to [N, 3] radians."""
    return angles_from_params(neck, NECK_LIMITS_DEG)


def jaw_angles(jaw: Tensor) -> Tensor:
    """Axis-angle of the jaw joint: [N, 3] unbounded to [N, 3] radians."""
    return angles_from_params(jaw, JAW_LIMITS_DEG)


def eyes_angles(eyes: Tensor) -> Tensor:
    """Axis-angle of both eye joints: [N, 6] unbounded to [N, 6] radians."""
    return angles_from_params(eyes, EYES_LIMITS_DEG)
