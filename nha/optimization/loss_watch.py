"""Stopping at the first loss that is not finite."""

from __future__ import annotations

import torch
from torch import Tensor

from nha.core.errors import UserError
from nha.core.processes import mean_over_processes, n_processes
from nha.optimization.training_step import StepValues

CHECK_PERIOD = (
    50  # steps between two looks at an accelerator's flags, each of which waits for its computations
)


class LossWatch:
    """Raises UserError at the first loss that is not finite.

    On a CPU with one process each step is checked before it changes the weights. Elsewhere flags are collected on the
    device, and read every `CHECK_PERIOD` steps and at the end of an epoch, before its state is saved.
    """

    def __init__(self) -> None:
        self._names: tuple[str, ...] = ()
        self._finite: Tensor | None = None
        self._steps = 0

    @torch.no_grad()
    def observe(self, step: StepValues, epoch: int) -> None:
        """Look at the losses of a step that have a weight, and at their sum."""
        names = step.names[: step.n_weighted]
        values = step.values[: step.n_weighted + 1]
        finite = torch.isfinite(values)
        same = self._finite is not None and names == self._names
        self._finite, self._names = (self._finite & finite if same else finite), names
        self._steps += 1
        if n_processes() == 1 and (values.device.type == "cpu" or self._steps % CHECK_PERIOD == 0):
            self.report(epoch)

    def report(self, epoch: int) -> None:
        """Raise UserError if a loss since the last report was not finite; all processes must call it."""
        if self._finite is None:
            return
        finite = self._finite
        if n_processes() > 1:
            finite = torch.stack([mean_over_processes(flag.float()) for flag in finite]) == 1
        self._finite = None
        if bool(finite.all()):
            return
        bad = [name for name, flag in zip(self._names, finite.tolist(), strict=False) if not flag]
        what = f"the loss {', '.join(bad)}" if bad else "the sum of the losses"
        weights = ", ".join(f"--w_{name}" for name in bad[:3]) or "the weights of the losses"
        raise UserError(
            f"{what} is not finite in epoch {epoch}; the last saved state is kept. Lower the learning rates "
            f"(--flame_lr, --offset_lr, --tex_lr) or {weights}, or check the data with `nha check dataset`"
        )
