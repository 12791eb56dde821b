"""Means of the losses over an epoch, summed on the device so that no step waits for it."""

from __future__ import annotations

import torch
from torch import Tensor

from nha.optimization.training_step import StepValues


class LossMeans:
    """Sums the values of steps; `read` returns their means over frames."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, ...], Tensor] = {}
        self._frames: dict[tuple[str, ...], int] = {}

    @torch.no_grad()
    def add(self, step: StepValues, n_frames: int) -> None:
        """Add the values of a step with a batch of `n_frames`."""
        if step.names in self._sums:
            self._sums[step.names].add_(step.values, alpha=n_frames)
        else:
            self._sums[step.names] = step.values * n_frames
        self._frames[step.names] = self._frames.get(step.names, 0) + n_frames

    def read(self) -> dict[str, Tensor]:
        """Name -> mean since the last call, scalars on the device."""
        total: dict[str, Tensor] = {}
        frames: dict[str, int] = {}
        for names, sums in self._sums.items():
            for name, value in zip(names, sums.unbind(), strict=True):
                total[name] = total[name] + value if name in total else value
                frames[name] = frames.get(name, 0) + self._frames[names]
        self._sums, self._frames = {}, {}
        return {name: value / frames[name] for name, value in total.items()}
