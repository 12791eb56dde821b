"""The ranges of the conditions in the training frames, and clipping to them."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ConditionRanges(nn.Module):
    """Smallest and largest expression, pose and mouth features of the training frames.

    Mouth features are clipped to their range at inference, because the texture network was not trained beyond it.
    Expression and pose condition nothing; their ranges exist because published checkpoints have them. Until they are
    measured the ranges are infinite and clip nothing. `docs/method.md`, section 3.
    """

    NAMES = ("expr", "pose", "mouth")

    def __init__(self, n_expr: int, n_mouth: int) -> None:
        super().__init__()
        for name, size in zip(self.NAMES, (n_expr, 15, n_mouth), strict=True):
            self.register_buffer(f"{name}_min", torch.full((size,), -torch.inf))
            self.register_buffer(f"{name}_max", torch.full((size,), torch.inf))

    def set_range(self, name: str, values: Tensor) -> None:
        """Measure the range of `name` over rows of `values`: [K, D]."""
        getattr(self, f"{name}_min").copy_(values.amin(0))
        getattr(self, f"{name}_max").copy_(values.amax(0))

    def clip_mouth(self, features: Tensor) -> Tensor:
        """Mouth features [N, D] moved into the training range."""
        return torch.maximum(torch.minimum(features, self.mouth_max), self.mouth_min)
