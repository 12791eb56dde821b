"""The losses of one step by name; the total is the sum of the logged values times the weights."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class LossTable:
    """Named unweighted scalars of one step. A weight's setting is called `w_` + the loss's name.

    losses: carry gradient and enter the total. metrics: only logged (IoU).
    """

    losses: Mapping[str, Tensor]
    metrics: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        twice = self.losses.keys() & self.metrics.keys()
        if twice:
            raise ValueError(f"both a loss and a metric: {', '.join(sorted(twice))}")
        for name, value in {**self.losses, **self.metrics}.items():
            if value.ndim != 0:
                raise ValueError(f"{name} has shape {tuple(value.shape)}, expected a scalar")

    @property
    def names(self) -> tuple[str, ...]:
        """The losses' names, in the order in which they were computed."""
        return tuple(self.losses)

    def weighted_sum(self, weights: Mapping[str, float]) -> Tensor:
        """The sum of the losses times their weights: a scalar to differentiate.

        weights: loss name -> weight; weights of losses that this stage does not compute are ignored. A weight
        of 0 leaves its loss out of the backward pass. Raises ValueError for a loss without a weight.
        """
        missing = [name for name in self.losses if name not in weights]
        if missing:
            raise ValueError(f"no weight for {', '.join(missing)}")
        weighted = [weights[name] * value for name, value in self.losses.items() if weights[name] != 0]
        if weighted:
            return torch.stack(weighted).sum()
        return torch.zeros((), requires_grad=True)

    def times(self, factor: float, names: Collection[str]) -> LossTable:
        """The same table with the named losses multiplied."""
        losses = {name: factor * value if name in names else value for name, value in self.losses.items()}
        return LossTable(losses, self.metrics)

    def for_log(self, prefix: str) -> dict[str, Tensor]:
        """Losses and metrics as `prefix/name` -> detached unweighted scalar."""
        return {f"{prefix}/{name}": value.detach() for name, value in {**self.losses, **self.metrics}.items()}
