"""Two variants of Adam for the blend model: on rows of tables, and with one step size for a whole tensor."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch.optim import Optimizer

EPS = 1e-12


class _AdamVariant(Optimizer):
    """An optimiser with Adam's settings."""

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
            first, second = group["betas"]
            for table in group["params"]:
                if table.grad is None:
                    continue
                state = self.state[table]
                if not state:
                    state["steps"] = table.new_zeros(len(table), 1)
                    state["mean"], state["square"] = torch.zeros_like(table), torch.zeros_like(table)
                grad = table.grad
                moved = (grad != 0).any(1, keepdim=True).to(grad)
                steps, mean, square = state["steps"], state["mean"], state["square"]
                steps += moved
                mean += moved * (1 - first) * (grad - mean)
                square += moved * (1 - second) * (grad * grad - square)
                count = steps.clamp_min(1)
                size = (square / (1 - second**count)).sqrt() + EPS
                table -= group["lr"] * moved * (mean / (1 - first**count)) / size
                if group.get("centred"):
                    fitted = (steps > 0).to(table)
                    table -= fitted * ((table * fitted).sum(0) / fitted.sum().clamp_min(1))


class UniformAdam(_AdamVariant):
    """Adam with one second moment for a whole tensor: its largest element decides the step size of all.

    Used with smoothed offsets, where a step size for each vertex would undo the smoothing (Nicolet et al. 2021). The
    largest step of a vertex is about the learning rate.
    """

    @torch.no_grad()
    def step(self, closure=None) -> None:
        """One step of all tensors with a gradient."""
        for group in self.param_groups:
            first, second = group["betas"]
            for tensor in group["params"]:
                if tensor.grad is None:
                    continue
                state = self.state[tensor]
                if not state:
                    state["steps"] = tensor.new_zeros(())
                    state["mean"], state["square"] = torch.zeros_like(tensor), tensor.new_zeros(())
                state["steps"] += 1
                state["mean"].lerp_(tensor.grad, 1 - first)
                state["square"].lerp_(tensor.grad.square().max(), 1 - second)
                size = (state["square"] / (1 - second ** state["steps"])).sqrt() + EPS
                tensor -= group["lr"] * (state["mean"] / (1 - first ** state["steps"])) / size
