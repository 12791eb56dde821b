"""ResNetUNet, the published network for normals of a face."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nha.nets.weights import FrozenNet
from nha.preprocess.networks.resnet18 import residual_layer, stem_convolution, stem_pool

SIZE_MULTIPLE = 32

# Duplicate names of the encoder's tensors, and the autoencoder of normal maps that is only used in training.
_UNUSED = r"base_model\..*|\w+_2\..*"


class ResNetUNet(FrozenNet):
    """Images of faces to normals. Skip connections are merged by a maximum instead of concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.layer0 = nn.Sequential(stem_convolution(), nn.BatchNorm2d(64), nn.ReLU())
        self.layer1 = nn.Sequential(stem_pool(), residual_layer(64, 64, 1))
        self.layer2 = residual_layer(64, 128, 2)
        self.layer3 = residual_layer(128, 256, 2)
        self.layer4 = residual_layer(256, 512, 2)
        self.layer0_1x1 = _conv_relu(64, 64, 1)
        self.layer1_1x1 = _conv_relu(64, 64, 1)
        self.layer2_1x1 = _conv_relu(128, 128, 1)
        self.layer3_1x1 = _conv_relu(256, 256, 1)
        self.layer4_1x1 = _conv_relu(512, 768, 1)
        self.conv_up3 = _conv_relu(768, 640, 3)
        self.conv_up2 = _conv_relu(640, 320, 3)
        self.conv_up1 = _conv_relu(320, 320, 3)
        self.conv_up0 = _conv_relu(320, 192, 3)
        self.conv_original_size0 = _conv_relu(3, 64, 3)
        self.conv_original_size1 = _conv_relu(64, 64, 3)
        self.conv_original_size2 = _conv_relu(192, 64, 3)
        self.conv_last = nn.Conv2d(64, 3, 1)
        self.freeze(unused=_UNUSED)

    def forward(self, rgb01: Tensor) -> Tensor:
        """[N, 3, H, W] in 0..1 to normals [N, 3, H, W], which are *not* of length 1.

        Raises ValueError for sides that are not multiples of 32.
        """
        if any(side % SIZE_MULTIPLE for side in rgb01.shape[2:]):
            raise ValueError(f"sides must be multiples of {SIZE_MULTIPLE}, not {list(rgb01.shape[2:])}")
        original = self.conv_original_size1(self.conv_original_size0(rgb01))
        x0 = self.layer0(rgb01)
        x1 = self.layer1(x0)
        x2 = self.layer2(x1)
        x3 = self.layer3(x2)
        y = self.layer4_1x1(self.layer4(x3))
        y = self.conv_up3(max_merge(_up(y), self.layer3_1x1(x3)))
        y = self.conv_up2(max_merge(_up(y), self.layer2_1x1(x2)))
        y = self.conv_up1(max_merge(_up(y), self.layer1_1x1(x1)))
        y = self.conv_up0(max_merge(_up(y), self.layer0_1x1(x0)))
        return self.conv_last(self.conv_original_size2(max_merge(_up(y), original)))


def max_merge(x: Tensor, skip: Tensor) -> Tensor:
    """Replace the last channels of x [N, C, H, W] by their maximum with a skip connection [N, C_s, H, W]."""
    first, last = x.split([x.shape[1] - skip.shape[1], skip.shape[1]], 1)
    return torch.cat([first, torch.maximum(last, skip)], 1)


def _up(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)


def _conv_relu(in_channels: int, out_channels: int, size: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, size, padding=size // 2), nn.ReLU())
