"""The one-euro filter: a low-pass filter whose cutoff frequency grows with the speed of the signal.

Casiez, Roussel, Vogel: *1 Euro Filter: A Simple Speed-based Low-pass Filter for Noisy Input in Interactive Systems*
(CHI 2012). A slow signal is smoothed strongly, against jitter; a fast one hardly, against delay.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_SPEED_CUTOFF_HZ = 1.0  # the paper's cutoff of the speed itself


class OneEuroFilter:
    """Filters vectors of one length over time, each component on its own."""

    def __init__(self, min_cutoff_hz: float | Tensor, speed_factor: float | Tensor) -> None:
        """Set the two parameters, as numbers or as one [D] for each component.

        Args:
            min_cutoff_hz: cutoff frequency at rest; lower values smooth more.
            speed_factor: how much the cutoff grows with the speed, in Hz per (unit of the signal per second).
        """
        self._min_cutoff_hz, self._speed_factor = min_cutoff_hz, speed_factor
        self.reset()

    def reset(self) -> None:
        """Forget the past: the next value is returned as it is."""
        self._time_s = -math.inf
        self._value: Tensor | None = None
        self._speed: Tensor | None = None

    def __call__(self, value: Tensor, time_s: float) -> Tensor:
        """The filtered value [D].

        Args:
            value: [D].
            time_s: its time in seconds; a value that is not later than the last one is ignored.
        """
        if self._value is None:
            self._time_s, self._value, self._speed = time_s, value, torch.zeros_like(value)
            return value
        passed = time_s - self._time_s
        if passed <= 0:
            return self._value
        speed = (value - self._value) / passed
        self._speed = self._speed + _share(_SPEED_CUTOFF_HZ, passed) * (speed - self._speed)
        cutoff = self._min_cutoff_hz + self._speed_factor * self._speed.abs()
        self._value = self._value + _share(cutoff, passed) * (value - self._value)
        self._time_s = time_s
        return self._value


def _share(cutoff_hz: float | Tensor, passed_s: float) -> float | Tensor:
    """The new value's share in the first-order low-pass filter."""
    ratio = 2 * math.pi * cutoff_hz * passed_s
    return ratio / (ratio + 1)
