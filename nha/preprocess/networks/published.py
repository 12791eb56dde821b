"""The published networks: loading their weights and preparing their input."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from nha.core.optional_files import optional_file
from nha.nets.weights import load_weights
from nha.preprocess.estimators import Estimator, EstimatorContext
from nha.preprocess.networks.bisenet import BiSeNet
from nha.preprocess.networks.resnet_unet import ResNetUNet
from nha.preprocess.networks.robust_video_matting import RobustVideoMatting

if TYPE_CHECKING:
    from typing_extensions import Self

# By the names in the table of optional files.
NETWORKS: dict[str, type[nn.Module]] = {
    "rvm": RobustVideoMatting,
    "face-parsing": BiSeNet,
    "face-normals": ResNetUNet,
}

# Range of the colours that the parsing and the normal network receive: 0..1, or 0.5..1 as in published datasets.
InputRange = Literal["plain", "published"]

GPU_BATCH_SIZE = 8


def load_published(name: str, path: Path) -> nn.Module:
    """A network with the weights in a file, on the CPU.

    Its memory format is channels-last, which makes it a third faster on a CPU.

    Args:
        name: key of `NETWORKS`.
        path: the weight file.

    Raises:
        UserError: the file is missing, damaged, or of another network.
    """
    net = NETWORKS[name]()
    load_weights(net, path, optional_file(name).origin)
    return net.to(memory_format=torch.channels_last)


class PublishedEstimator(Estimator):
    """An estimator whose network processes each frame on its own.

    Args:
        weights: the weight file.
        device: where the network runs.
        input_range: range of the colours that the network receives.
    """

    title: ClassVar[str]
    network: ClassVar[str]  # key of `NETWORKS`

    def __init__(self, weights: Path, device: torch.device, input_range: InputRange = "plain") -> None:
        # Results depend on the range, so the name does, too.
        suffix = "" if input_range == "plain" else " (sees colours in 0.5..1, as published)"
        self.name = self.title + suffix
        self.batch_size = batch_size_on(device)
        self._input_range = input_range
        self._device = device
        self._net = load_published(self.network, weights).to(device)

    @classmethod
    def create(cls, context: EstimatorContext) -> Self:
        """See `Estimator.create`."""
        return cls(context.weights, context.device, context.options.parsing_range)

    def _in_range(self, rgb01: Tensor) -> Tensor:
        """Map colours in 0..1 to the range that the network receives."""
        return rgb01 if self._input_range == "plain" else rgb01 * 0.5 + 0.5


def batch_size_on(device: torch.device) -> int:
    """Frames per batch: 1 on a CPU, where batches are not faster and a resumed run then gives equal bits."""
    return 1 if device.type == "cpu" else GPU_BATCH_SIZE


def to_batch01(images: Sequence[np.ndarray], device: torch.device) -> Tensor:
    """Stack images of one size: [H, W, 3] uint8 or float32 in 0..255 to [N, 3, H, W] in 0..1, channels last."""
    stacked = torch.from_numpy(np.stack(images)).to(device)
    return stacked.permute(0, 3, 1, 2).float() / 255
