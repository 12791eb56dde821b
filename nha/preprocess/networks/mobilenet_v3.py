"""MobileNetV3-large as the encoder of RobustVideoMatting."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BN_EPS = 1e-3  # in this backbone only
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TAPS = (1, 3, 6, 16)  # layers whose outputs are returned: at 1/2, 1/4, 1/8 and 1/16 of the size
TAP_CHANNELS = (16, 24, 40, 960)


@dataclass(frozen=True)
class _BlockShape:
    """Shape of an inverted residual; `squeezed` is the number of channels in the gate, 0 for no gate."""

    inputs: int
    size: int
    expanded: int
    outputs: int
    squeezed: int
    hard_swish: bool
    stride: int
    dilation: int = 1


_BLOCKS = (
    _BlockShape(16, 3, 16, 16, 0, False, 1),
    _BlockShape(16, 3, 64, 24, 0, False, 2),
    _BlockShape(24, 3, 72, 24, 0, False, 1),
    _BlockShape(24, 5, 72, 40, 24, False, 2),
    _BlockShape(40, 5, 120, 40, 32, False, 1),
    _BlockShape(40, 5, 120, 40, 32, False, 1),
    _BlockShape(40, 3, 240, 80, 0, True, 2),
    _BlockShape(80, 3, 200, 80, 0, True, 1),
    _BlockShape(80, 3, 184, 80, 0, True, 1),
    _BlockShape(80, 3, 184, 80, 0, True, 1),
    _BlockShape(80, 3, 480, 112, 120, True, 1),
    _BlockShape(112, 3, 672, 112, 168, True, 1),
    _BlockShape(112, 5, 672, 160, 168, True, 1, dilation=2),  # in place of a stride of 2
    _BlockShape(160, 5, 960, 160, 240, True, 1, dilation=2),
    _BlockShape(160, 5, 960, 160, 240, True, 1, dilation=2),
)


class MobileNetV3(nn.Module):
    """Four feature maps of an image."""

    def __init__(self) -> None:
        super().__init__()
        stem = _conv_bn(3, 16, 3, stride=2, activation=nn.Hardswish)
        last = _conv_bn(160, TAP_CHANNELS[-1], 1, activation=nn.Hardswish)
        self.features = nn.Sequential(stem, *map(_InvertedResidual, _BLOCKS), last)

    def forward(self, rgb01: Tensor) -> list[Tensor]:
        """[N, 3, H, W] in 0..1 to [N, 16 | 24 | 40 | 960, h, w] at 1/2, 1/4, 1/8 and 1/16 of the size (rounded up)."""
        mean, std = (rgb01.new_tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
        x = (rgb01 - mean) / std
        taps = []
        for i, layer in enumerate(self.features):
            x = layer(x)
            if i in TAPS:
                taps.append(x)
        return taps


class _InvertedResidual(nn.Module):
    def __init__(self, shape: _BlockShape) -> None:
        super().__init__()
        activation = nn.Hardswish if shape.hard_swish else nn.ReLU
        layers: list[nn.Module] = []
        if shape.expanded != shape.inputs:
            layers.append(_conv_bn(shape.inputs, shape.expanded, 1, activation=activation))
        layers.append(
            _conv_bn(
                shape.expanded,
                shape.expanded,
                shape.size,
                stride=shape.stride,
                dilation=shape.dilation,
                groups=shape.expanded,
                activation=activation,
            )
        )
        if shape.squeezed:
            layers.append(_SqueezeExcitation(shape.expanded, shape.squeezed))
        layers.append(_conv_bn(shape.expanded, shape.outputs, 1))
        self.block = nn.Sequential(*layers)
        self.skips = shape.stride == 1 and shape.inputs == shape.outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.block(x) if self.skips else self.block(x)


class _SqueezeExcitation(nn.Module):
    """Channels weighted by a gate computed from their global mean."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean((2, 3), keepdim=True)
        return x * F.hardsigmoid(self.fc2(torch.relu(self.fc1(mean))))


def _conv_bn(
    inputs: int,
    outputs: int,
    size: int,
    *,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    activation: type[nn.Module] | None = None,
) -> nn.Sequential:
    padding = size // 2 * dilation
    conv = nn.Conv2d(inputs, outputs, size, stride, padding, dilation, groups, bias=False)
    layers = [conv, nn.BatchNorm2d(outputs, eps=BN_EPS)]
    return nn.Sequential(*layers, activation()) if activation else nn.Sequential(*layers)
