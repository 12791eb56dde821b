"""Networks that replace the published ones, written as outside the package."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PointColours(nn.Module):
    """Colours from only the surface point and its feature, with the interface of `TextureNet.forward`."""

    def __init__(self, input_size: int) -> None:
        super().__init__()
        self.colour = nn.Linear(input_size, 3)

    def forward(
        self,
        points: Tensor,
        normal_encoding: Tensor,
        mouth_features: Tensor,
        image_index: Tensor,
        mouth_weight: Tensor,
        rest_weight: Tensor,
    ) -> Tensor:
        return self.colour(points).tanh()


class ConstantOffsets(nn.Module):
    """The same small offset everywhere, with the interface of `OffsetNet.forward`."""

    def __init__(self) -> None:
        super().__init__()
        self.offset = nn.Parameter(torch.tensor([0.0, 0.0, 1e-4]))

    def forward(self, points: Tensor, condition: Tensor) -> Tensor:
        return self.offset.expand(len(condition), len(points), 3)
