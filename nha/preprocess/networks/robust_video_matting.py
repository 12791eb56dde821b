"""RobustVideoMatting with a MobileNetV3 encoder, the published network for mattes of a video."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nha.nets.weights import FrozenNet
from nha.preprocess.networks.mobilenet_v3 import TAP_CHANNELS, MobileNetV3

ASPP_CHANNELS, HIDDEN_CHANNELS = 128, 16
STATE_CHANNELS = (16, 20, 40, 64)  # r1 to r4: at 1/2, 1/4, 1/8 and 1/16 of the small image

State = tuple[Tensor, Tensor, Tensor, Tensor]


class RobustVideoMatting(FrozenNet):
    """Frames of one video, in order, to mattes."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = MobileNetV3()
        self.aspp = _Aspp()
        self.decoder = _Decoder()
        self.project_mat = _Projection(4)
        self.refiner = _GuidedRefiner()
        self.freeze(unused=r"project_seg\..*")

    def forward(
        self, rgb01: Tensor, state: State | None = None, downsample_ratio: float = 1.0
    ) -> tuple[Tensor, Tensor, State]:
        """Mattes of the next T frames.

        Args:
            rgb01: [T, 3, H, W] in 0..1, any size.
            state: returned by the previous call, None at the start of a video.
            downsample_ratio: in 0..1; the matte is estimated at this scale and then refined.

        Returns:
            foreground [T, 3, H, W] and alpha [T, 1, H, W], both in 0..1, and the state for the next frames.
        """
        small = rgb01
        if downsample_ratio != 1:
            small = F.interpolate(
                rgb01,
                scale_factor=downsample_ratio,
                mode="bilinear",
                align_corners=False,
                recompute_scale_factor=False,
            )
        f1, f2, f3, f4 = self.backbone(small)
        hidden, state = self.decoder(small, f1, f2, f3, self.aspp(f4), state)
        matting = self.project_mat(hidden)
        if downsample_ratio != 1:
            matting = self.refiner(rgb01, small, matting, hidden)
        return (matting[:, :3] + rgb01).clamp(0, 1), matting[:, 3:].clamp(0, 1), state


class _Aspp(nn.Module):
    """Features weighted by a gate computed from their global mean; no ReLU in the gate."""

    def __init__(self) -> None:
        super().__init__()
        conv = nn.Conv2d(TAP_CHANNELS[3], ASPP_CHANNELS, 1, bias=False)
        self.aspp1 = nn.Sequential(conv, nn.BatchNorm2d(ASPP_CHANNELS), nn.ReLU())
        gate = nn.Conv2d(TAP_CHANNELS[3], ASPP_CHANNELS, 1, bias=False)
        self.aspp2 = nn.Sequential(nn.AdaptiveAvgPool2d(1), gate, nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        return self.aspp1(x) * self.aspp2(x)


class _Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        r1, r2, r3, r4 = STATE_CHANNELS
        f1, f2, f3, _ = TAP_CHANNELS
        self.decode4 = _Bottleneck(r4)
        self.decode3 = _Upsampling(2 * r4 + f3 + 3, r3)
        self.decode2 = _Upsampling(2 * r3 + f2 + 3, r2)
        self.decode1 = _Upsampling(2 * r2 + f1 + 3, r1)
        self.decode0 = _Output(2 * r1 + 3)

    def forward(
        self, small: Tensor, f1: Tensor, f2: Tensor, f3: Tensor, f4: Tensor, state: State | None
    ) -> tuple[Tensor, State]:
        """Features [T, 16, h, w] at the size of the small image, and the new state."""
        s1 = _half_size(small)
        s2 = _half_size(s1)
        s3 = _half_size(s2)
        r1, r2, r3, r4 = state or (None,) * 4
        x, r4 = self.decode4(f4, r4)
        x, r3 = self.decode3(x, f3, s3, r3)
        x, r2 = self.decode2(x, f2, s2, r2)
        x, r1 = self.decode1(x, f1, s1, r1)
        return self.decode0(x, small), (r1, r2, r3, r4)


class _ConvGru(nn.Module):
    """A gated recurrent unit whose products are 3x3 convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.ih = nn.Sequential(nn.Conv2d(2 * channels, 2 * channels, 3, padding=1), nn.Sigmoid())
        self.hh = nn.Sequential(nn.Conv2d(2 * channels, channels, 3, padding=1), nn.Tanh())

    def forward(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """[T, C, h, w], frames in order, and a state [1, C, h, w] or None, to the states of all frames and the last."""
        h = torch.zeros_like(x[:1]) if state is None else state
        states = []
        for frame in x.split(1):
            reset, update = self.ih(torch.cat([frame, h], 1)).chunk(2, 1)
            candidate = self.hh(torch.cat([frame, reset * h], 1))
            h = (1 - update) * h + update * candidate
            states.append(h)
        return torch.cat(states), h


class _HalfRecurrent(nn.Module):
    """Passes only the second half of the channels through the recurrent unit."""

    def __init__(self, state_channels: int) -> None:
        super().__init__()
        self.gru = _ConvGru(state_channels)

    def recur(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        kept, remembered = x.chunk(2, 1)
        remembered, state = self.gru(remembered, state)
        return torch.cat([kept, remembered], 1), state


class _Bottleneck(_HalfRecurrent):
    def forward(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        return self.recur(x, state)


class _Upsampling(_HalfRecurrent):
    def __init__(self, in_channels: int, state_channels: int) -> None:
        super().__init__(state_channels)
        self.conv = nn.Sequential(*_conv_bn_relu(in_channels, 2 * state_channels))

    def forward(
        self, x: Tensor, feature: Tensor, image: Tensor, state: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        x = self.conv(torch.cat([_double_size(x, image.shape[2:]), feature, image], 1))
        return self.recur(x, state)


class _Output(nn.Module):
    def __init__(self, in_channels: int) -> None:
        super().__init__()
        first = _conv_bn_relu(in_channels, HIDDEN_CHANNELS)
        self.conv = nn.Sequential(*first, *_conv_bn_relu(HIDDEN_CHANNELS, HIDDEN_CHANNELS))

    def forward(self, x: Tensor, image: Tensor) -> Tensor:
        return self.conv(torch.cat([_double_size(x, image.shape[2:]), image], 1))


class _Projection(nn.Module):
    def __init__(self, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(HIDDEN_CHANNELS, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class _GuidedRefiner(nn.Module):
    """Fits the matting as an affine function of the colours of the small image and applies it to the large one."""

    def __init__(self) -> None:
        super().__init__()
        self.box_filter = nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False)
        inside = HIDDEN_CHANNELS
        self.conv = nn.Sequential(
            *_conv_bn_relu(8 + inside, inside, 1), *_conv_bn_relu(inside, inside, 1), nn.Conv2d(inside, 4, 1)
        )

    def forward(self, rgb01: Tensor, small: Tensor, matting: Tensor, hidden: Tensor) -> Tensor:
        """rgb01: [T, 3, H, W]; small, matting (4 channels), hidden: [T, C, h, w]. Returns [T, 4, H, W]."""
        guide, small_guide = _with_mean(rgb01), _with_mean(small)
        box = self.box_filter
        guide_mean, matting_mean = box(small_guide), box(matting)
        covariance = box(small_guide * matting) - guide_mean * matting_mean
        variance = box(small_guide * small_guide) - guide_mean * guide_mean
        slope = self.conv(torch.cat([covariance, variance, hidden], 1))
        offset = matting_mean - slope * guide_mean
        slope, offset = (
            F.interpolate(x, rgb01.shape[2:], mode="bilinear", align_corners=False) for x in (slope, offset)
        )
        return slope * guide + offset


def _conv_bn_relu(in_channels: int, out_channels: int, size: int = 3) -> list[nn.Module]:
    conv = nn.Conv2d(in_channels, out_channels, size, padding=size // 2, bias=False)
    return [conv, nn.BatchNorm2d(out_channels), nn.ReLU()]


def _with_mean(rgb: Tensor) -> Tensor:
    return torch.cat([rgb, rgb.mean(1, keepdim=True)], 1)


def _half_size(image: Tensor) -> Tensor:
    """Half the size, rounded up; a last odd row or column is averaged over the existing pixels."""
    return F.avg_pool2d(image, 2, 2, ceil_mode=True, count_include_pad=False)


def _double_size(x: Tensor, size: torch.Size) -> Tensor:
    """Upsample to twice the size, cropped to (height, width)."""
    x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    return x[..., : size[0], : size[1]]
