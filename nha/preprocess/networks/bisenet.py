"""BiSeNet with 19 classes, the published network for face parsing."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nha.nets.weights import FrozenNet
from nha.preprocess.networks.resnet18 import residual_layer, stem_convolution, stem_pool

N_CLASSES = 19


class BiSeNet(FrozenNet):
    """Images to class scores.

    The two output heads that are only used in training are ignored when weights are loaded.
    """

    def __init__(self) -> None:
        super().__init__()
        self.cp = _ContextPath()
        self.ffm = _FeatureFusion()
        self.conv_out = _Head()
        self.freeze(unused=r"conv_out(16|32)\..*")

    def forward(self, image: Tensor) -> Tensor:
        """[N, 3, H, W] of any size, with ImageNet normalisation, to scores [N, 19, H, W]."""
        feat8, up16 = self.cp(image)
        scores = self.conv_out(self.ffm(feat8, up16))
        return F.interpolate(scores, image.shape[2:], mode="bilinear", align_corners=True)


class _ConvBNReLU(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, size: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, size, padding=size // 2, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class _ResNet18(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = stem_convolution()
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = stem_pool()
        self.layer1 = residual_layer(64, 64, 1)
        self.layer2 = residual_layer(64, 128, 2)
        self.layer3 = residual_layer(128, 256, 2)
        self.layer4 = residual_layer(256, 512, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features at 1/8, 1/16 and 1/32 of the size: 128, 256 and 512 channels."""
        x = self.layer1(self.maxpool(F.relu(self.bn1(self.conv1(x)))))
        feat8 = self.layer2(x)
        feat16 = self.layer3(feat8)
        return feat8, feat16, self.layer4(feat16)


class _AttentionRefinement(nn.Module):
    """Features weighted by a gate computed from their global mean; no ReLU in the gate."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.conv = _ConvBNReLU(in_channels, 128, 3)
        self.conv_atten = nn.Conv2d(128, 128, 1, bias=False)
        self.bn_atten = nn.BatchNorm2d(128)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return x * self.bn_atten(self.conv_atten(global_mean(x))).sigmoid()


class _ContextPath(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.resnet = _ResNet18()
        self.arm16 = _AttentionRefinement(256)
        self.arm32 = _AttentionRefinement(512)
        self.conv_head32 = _ConvBNReLU(128, 128, 3)
        self.conv_head16 = _ConvBNReLU(128, 128, 3)
        self.conv_avg = _ConvBNReLU(512, 128, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Features of the backbone at 1/8 of the size, and context from deeper layers: 128 channels each."""
        feat8, feat16, feat32 = self.resnet(image)
        context = self.arm32(feat32) + self.conv_avg(global_mean(feat32))
        context = self.conv_head32(F.interpolate(context, feat16.shape[2:], mode="nearest"))
        context = self.arm16(feat16) + context
        return feat8, self.conv_head16(F.interpolate(context, feat8.shape[2:], mode="nearest"))


class _FeatureFusion(nn.Module):
    """Combines both paths, with channels amplified by a gate computed from their global mean."""

    def __init__(self) -> None:
        super().__init__()
        self.convblk = _ConvBNReLU(256, 256, 1)
        self.conv1 = nn.Conv2d(256, 64, 1, bias=False)
        self.conv2 = nn.Conv2d(64, 256, 1, bias=False)

    def forward(self, spatial: Tensor, context: Tensor) -> Tensor:
        x = self.convblk(torch.cat([spatial, context], 1))
        gate = self.conv2(F.relu(self.conv1(global_mean(x)))).sigmoid()
        return x * gate + x


class _Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = _ConvBNReLU(256, 256, 3)
        self.conv_out = nn.Conv2d(256, N_CLASSES, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_out(self.conv(x))


def global_mean(x: Tensor) -> Tensor:
    """[N, C, H, W] -> [N, C, 1, 1]."""
    return x.mean((2, 3), keepdim=True)
