"""Building blocks of ResNet-18, shared by the parsing and the normal network."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut; the ReLU comes after the sum."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample = None
        if stride != 1 or in_channels != out_channels:
            shortcut = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """[N, in, H, W] to [N, out, H / stride, W / stride], rounded up."""
        shortcut = x if self.downsample is None else self.downsample(x)
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + shortcut)


def residual_layer(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """Two blocks, the first with the stride."""
    return nn.Sequential(
        BasicBlock(in_channels, out_channels, stride), BasicBlock(out_channels, out_channels)
    )


def stem_convolution() -> nn.Conv2d:
    """The first convolution, 7x7 with stride 2, RGB to 64 channels."""
    return nn.Conv2d(3, 64, 7, 2, padding=3, bias=False)


def stem_pool() -> nn.MaxPool2d:
    """The pooling with stride 2 after the first convolution."""
    return nn.MaxPool2d(3, 2, padding=1)
