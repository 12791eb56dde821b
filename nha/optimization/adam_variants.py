"""Two variants of Adam for the blend model: on rows of tables, and with one step size for a whole tensor."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch.optim import Optimizer

from nha.optimization.adam_ops import centre_rows_, row_step_, uniform_step_


class _AdamVariant(Optimizer):
    """An optimiser with Adam's settings; all groups have the same decay of the moments."""

    def __init__(self, params: Iterable, lr: float, betas: tuple[float, float] = (0.9, 0.99)) -> None:
        super().__init__(params, {"lr": lr, "betas": betas})


class RowAdam(_AdamVariant):
    """Adam on tables with one row for each frame, in which only rows with a gradient move.

    Adam itself would go on moving the rows of frames that are not in the batch by their momentum. Each row has its own
    count of steps. In groups with "centred", the mean over the rows that have moved stays zero: what all frames share
    belongs to the parameters that they share, so that other frames, which have no corrections, get it too.
    """

    @torch.no_grad()
    def step(self, closure=None) -> None:
        """One step of all rows whose gradient is not zero."""
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is None:
                    continue
                state = self.state[table]
                if not state:
                    state["steps"] = table.new_zeros(len(table), 1)
                    state["mean"], state["square"] = torch.zeros_like(table), torch.zeros_like(table)
                row_step_(
                    table,
                    table.grad,
                    state["steps"],
                    state["mean"],
                    state["square"],
                    group["lr"],
                    group["betas"],
                )
                if group.get("centred"):
                    centre_rows_(table, state["steps"])


class UniformAdam(_AdamVariant):
    """Adam with one second moment for a whole tensor: its largest element decides the step size of all.

    Used with smoothed offsets, where a step size for each vertex would undo the smoothing (Nicolet et al. 2021). The
    largest step of a vertex is about the learning rate.
    """

    @torch.no_grad()
    def step(self, closure=None) -> None:
        """One step of all tensors with a gradient."""
        first, second = self.defaults["betas"]
        moved = [
            (tensor, group["lr"])
            for group in self.param_groups
            for tensor in group["params"]
            if tensor.grad is not None
        ]
        if not moved:
            return
        for tensor, _ in moved:
            if not self.state[tensor]:
                self.state[tensor].update(
                    steps=tensor.new_zeros(()), mean=torch.zeros_like(tensor), square=tensor.new_zeros(())
                )
        states = [self.state[tensor] for tensor, _ in moved]
        steps, means, squares = ([state[name] for state in states] for name in ("steps", "mean", "square"))
        grads = [tensor.grad for tensor, _ in moved]
        # all tensors together, because each operation costs a launch
        largest = torch._foreach_norm(grads, torch.inf)
        torch._foreach_add_(steps, 1)
        torch._foreach_lerp_(means, grads, 1 - first)
        torch._foreach_lerp_(squares, torch._foreach_mul(largest, largest), 1 - second)
        for (tensor, rate), state in zip(moved, states, strict=True):
            uniform_step_(
                tensor, state["mean"], state["square"], state["steps"], rate, self.defaults["betas"]
            )
