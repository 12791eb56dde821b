"""Smoothing of the avatar's motion, and its return after the face was lost."""

from __future__ import annotations

import torch
from torch import Tensor

from nha.core.over_time import continuous_rotations
from nha.core.types import HeadParams
from nha.live.one_euro import OneEuroFilter

# Parameter -> change that counts as 1, and the cutoff frequency at rest in Hz. Lids, lips and gaze jump, the head
# does not.
_SCALES = {
    "rotation": (0.05, 1.5),
    "translation": (0.01, 1.0),
    "neck": (0.1, 1.0),
    "expr": (0.5, 3.0),
    "jaw": (0.2, 3.0),
    "eyes": (0.2, 2.0),
}
_SPEED_FACTOR = 0.5  # Hz per unit per second
_RETURN_S = 0.4  # from the kept pose to the face that was found again


class MotionFilter:
    """Filters head parameters [1] over time; between a kept pose and the next one it moves smoothly."""

    def __init__(self, start: HeadParams, smoothing: float) -> None:
        """Start at a pose that is kept until the first call.

        Args:
            start: [1].
            smoothing: factor of the smoothing; 0 turns it off.
        """
        self._like, self._smoothing = start, smoothing
        self._kept = self._shown = self._vector(start)
        self._filter: OneEuroFilter | None = None  # None while a pose is kept
        self._found_at = 0.0
        cutoffs = [torch.full((_size(start, name),), hz) for name, (_, hz) in _SCALES.items()]
        self._cutoff_hz = torch.cat(cutoffs).to(self._shown) / max(smoothing, 1e-9)

    def __call__(self, params: HeadParams, time_s: float) -> HeadParams:
        """The smoothed parameters [1] at a time."""
        near = continuous_rotations(params.rotation, self._params(self._shown).rotation[0])
        vector = self._vector(params.replace(rotation=near))
        if self._filter is None:
            self._kept, self._found_at = self._shown, time_s
            self._filter = OneEuroFilter(self._cutoff_hz, _SPEED_FACTOR)
        filtered = self._filter(vector, time_s) if self._smoothing > 0 else vector
        share = min(max((time_s - self._found_at) / _RETURN_S, 0.0), 1.0)
        share = share * share * (3 - 2 * share)
        self._shown = self._kept + share * (filtered - self._kept)
        return self._params(self._shown)

    def hold(self) -> HeadParams:
        """The last parameters [1], which are kept until the next call."""
        self._filter = None
        return self._params(self._shown)

    def _vector(self, params: HeadParams) -> Tensor:
        return torch.cat([getattr(params, name)[0] / scale for name, (scale, _) in _SCALES.items()])

    def _params(self, vector: Tensor) -> HeadParams:
        parts = vector.split([_size(self._like, name) for name in _SCALES])
        values = {
            name: part[None] * scale for (name, (scale, _)), part in zip(_SCALES.items(), parts, strict=True)
        }
        return self._like.replace(**values)


def _size(params: HeadParams, name: str) -> int:
    return getattr(params, name).shape[1]
