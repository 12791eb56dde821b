"""Learned feature images over the two UV maps of the head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nha.core.pixel_lists import chosen_rows


class NeuralTexture(nn.Module):
    """A feature map for the head and one for the interior of the mouth. Paper sec. 3.3; `docs/method.md`, section 3."""

    def __init__(self, feature_size: int = 64, head_size: int = 256, mouth_size: int = 64):
        """head_size, mouth_size: side of the square maps, in texels."""
        super().__init__()
        self.head = nn.Parameter(0.01 * torch.randn(1, feature_size, head_size, head_size))
        self.mouth = nn.Parameter(0.01 * torch.randn(1, feature_size, mouth_size, mouth_size))

    def forward(self, uvs: Tensor, uv_map: Tensor) -> Tensor:
        """Features of P points, bilinear; beyond the map's border the border's value.

        uvs: [P, 2] in -1..1, (-1, -1) is the centre of the top left texel; uv_map: [P], 0 head, 1 mouth.
        Returns [P, F].
        """
        features = _sample(self.head, uvs)  # of all points: few are in the mouth, and these are replaced
        in_mouth = chosen_rows("mouth interior", uv_map > 0.5)
        return in_mouth.replace_rows(features, _sample(self.mouth, uvs.index_select(0, in_mouth.source)))


def _sample(texture: Tensor, uvs: Tensor) -> Tensor:
    """texture [1, F, H, W], uvs [P, 2] -> [P, F]."""
    sampled = nn.functional.grid_sample(
        texture, uvs[None, :, None], mode="bilinear", padding_mode="border", align_corners=True
    )  # [1, F, P, 1]
    return sampled[0, :, :, 0].T
