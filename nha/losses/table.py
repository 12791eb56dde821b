"""The losses of one step by name, and their weighted sum."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from nha.core.constants import constant


@dataclass(frozen=True)
class LossTable:
    """Named unweighted scalars of one step.

    Attributes:
        losses: scalars with gradient, which enter the total.
        metrics: scalars for the log only, such as intersections over union.
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
        """Names of the losses, in the order in which they were computed."""
        return tuple(self.losses)

    def weighted_names(self, weights: Mapping[str, float]) -> tuple[str, ...]:
        """Names of the losses whose weight is not 0. Raises ValueError for a loss without a weight."""
        missing = [name for name in self.losses if name not in weights]
        if missing:
            raise ValueError(f"no weight for {', '.join(missing)}")
        return tuple(name for name in self.losses if weights[name] != 0)

    def weighted_sum(self, weights: Mapping[str, float], vector: Tensor | None = None) -> Tensor:
        """The sum of the losses times their weights.

        Args:
            weights: loss name -> weight; other names are ignored. A loss with weight 0 takes no part in the backward
                pass.
            vector: [A] the weights other than 0, in the order of the losses, which are used instead of the numbers in
                `weights`: a graph that is recorded once reads their present values.

        Returns:
            A scalar with gradient.

        Raises:
            ValueError: a loss has no weight.
        """
        weighted = self.weighted_names(weights)
        if not weighted:
            return torch.zeros((), requires_grad=True)
        values = torch.stack([self.losses[name] for name in weighted])
        if vector is None:
            vector = constant(tuple(float(weights[name]) for name in weighted), values)
        return (values * vector).sum()

    def times(self, factor: float, names: Collection[str]) -> LossTable:
        """The same table with the named losses multiplied by a factor."""
        losses = {name: factor * value if name in names else value for name, value in self.losses.items()}
        return LossTable(losses, self.metrics)

    def for_log(self, prefix: str) -> dict[str, Tensor]:
        """Losses and metrics as `prefix/name` -> detached unweighted scalar, for the logger."""
        return {f"{prefix}/{name}": value.detach() for name, value in {**self.losses, **self.metrics}.items()}
