"""LPIPS, the learned perceptual distance of two images. Zhang et al., CVPR 2018, with AlexNet, version 0.1.

It needs AlexNet's published weights (see `nha.core.optional_files`). The five learned weightings of its features come
with the package torchmetrics, whose own class needs torchvision and is therefore not used.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
from torch import Tensor, nn

from nha.core.errors import UserError
from nha.core.optional_files import optional_file
from nha.nets.alexnet import TAP_CHANNELS, AlexNetFeatures
from nha.nets.weights import load_weights, read_state_dict

# Mean and standard deviation of ImageNet's images, for images in -1..1.
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
_EPS = 1e-8


class Lpips(nn.Module):
    """Distance [N] of two images rgb01 [N, 3, H, W]; 0 for equal images.

    Args:
        features: AlexNet.
        weightings: [C] for each of its feature maps.
    """

    def __init__(self, features: AlexNetFeatures, weightings: list[Tensor]) -> None:
        super().__init__()
        self.features = features
        for i, weighting in enumerate(weightings):
            self.register_buffer(f"weighting_{i}", weighting.reshape(1, -1, 1, 1))
        self.register_buffer("shift", torch.tensor(_SHIFT)[:, None, None])
        self.register_buffer("scale", torch.tensor(_SCALE)[:, None, None])

    @torch.no_grad()
    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        maps = [self.features((rgb01 * 2 - 1 - self.shift) / self.scale) for rgb01 in (prediction, target)]
        distance = prediction.new_zeros(len(prediction))
        for i, (first, second) in enumerate(zip(*maps, strict=True)):
            difference = (_unit_length(first) - _unit_length(second)) ** 2
            weighted = (difference * getattr(self, f"weighting_{i}")).sum(1)
            distance = distance + weighted.mean((1, 2))
        return distance


def _unit_length(features: Tensor) -> Tensor:
    """Features of each pixel divided by their length; epsilon is inside the root, as published."""
    return features / torch.sqrt(_EPS + features.square().sum(1, keepdim=True))


def load_lpips(weights: Path | None = None) -> Lpips:
    """Open LPIPS.

    Args:
        weights: file of AlexNet's weights; None takes the folder of PyTorch's hub.

    Raises:
        UserError: if the file is missing or holds something else.
    """
    entry = optional_file("alexnet")
    features = AlexNetFeatures()
    load_weights(features, weights or entry.paths[0], entry.origin)
    return Lpips(features, read_weightings())


def read_weightings() -> list[Tensor]:
    """Read the published weighting [C] of each of the five feature maps from the package torchmetrics."""
    package = Path(importlib.util.find_spec("torchmetrics").origin).parent
    state = read_state_dict(
        package / "functional" / "image" / "lpips_models" / "alex.pth", "torchmetrics 1.9.0"
    )
    weightings = [state[f"lin{i}.model.1.weight"].flatten() for i in range(len(TAP_CHANNELS))]
    if tuple(map(len, weightings)) != TAP_CHANNELS:
        raise UserError(
            "torchmetrics' weightings for LPIPS are not those of AlexNet; install torchmetrics 1.9.0"
        )
    return weightings
