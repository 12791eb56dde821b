"""iResNet-18, the backbone of ArcFace face recognition, as a frozen feature network.

Parameter names are those of InsightFace's published weight files.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from nha.core.optional_files import optional_file
from nha.nets.weights import FrozenNet, load_weights

# Tensors of the published file that only the recognition head uses: checked when loading and not kept.
RECOGNITION_HEAD_SHAPES: dict[str, tuple[int, ...]] = {
    **{f"bn2.{name}": (512,) for name in ("weight", "bias", "running_mean", "running_var")},
    "bn2.num_batches_tracked": (),
    "fc.weight": (512, 512 * 7 * 7),
    "fc.bias": (512,),
    **{f"features.{name}": (512,) for name in ("weight", "bias", "running_mean", "running_var")},
    "features.num_batches_tracked": (),
}


class _Block(nn.Module):
    """BN - conv - BN - PReLU - strided conv - BN, plus a shortcut; no activation after the sum."""

    def __init__(self, in_channels: int, out_channels: int, stride: int):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.prelu = nn.PReLU(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample = None
        if stride != 1:
            shortcut = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        return self.bn3(self.conv2(x)) + shortcut


class IResNet18(FrozenNet):
    """The four feature maps of iResNet-18; frozen and always in evaluation mode.

    `load_state_dict` takes the published file's tensors under the published names, strictly.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.prelu = nn.PReLU(64)
        self.layer1 = nn.Sequential(_Block(64, 64, 2), _Block(64, 64, 1))
        self.layer2 = nn.Sequential(_Block(64, 128, 2), _Block(128, 128, 1))
        self.layer3 = nn.Sequential(_Block(128, 256, 2), _Block(256, 256, 1))
        self.layer4 = nn.Sequential(_Block(256, 512, 2), _Block(512, 512, 1))
        self.register_load_state_dict_pre_hook(_remove_recognition_head)
        self.freeze()

    def forward(self, rgb_pm1: Tensor) -> list[Tensor]:
        """Feature maps after layer1..4 of images of any size.

        Args:
            rgb_pm1: [N, 3, H, W] in -1..1.

        Returns:
            [N, 64 | 128 | 256 | 512, h, w] at 1/2, 1/4, 1/8 and 1/16 of the size.
        """
        x = self.prelu(self.bn1(self.conv1(rgb_pm1)))
        taps = []
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
            taps.append(x)
        return taps


def load_iresnet18(path: Path) -> IResNet18:
    """The network with published ArcFace weights (a plain state dict). Raises UserError for any other file."""
    net = IResNet18()
    load_weights(net, path, optional_file("arcface").origin)
    return net


def _remove_recognition_head(
    module, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
) -> None:
    """Remove the recognition head's tensors; a wrong shape among them is an error, because it is another network."""
    for name, shape in RECOGNITION_HEAD_SHAPES.items():
        tensor = state_dict.pop(prefix + name, None)
        if tensor is not None and tuple(tensor.shape) != shape:
            error_msgs.append(f"{prefix + name} has shape {tuple(tensor.shape)}, expected {shape}")
