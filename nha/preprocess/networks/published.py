"""Opening the published annotators' networks."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from nha.core.optional_files import optional_file
from nha.nets.weights import load_weights
from nha.preprocess.networks.bisenet import BiSeNet
from nha.preprocess.networks.resnet_unet import ResNetUNet
from nha.preprocess.networks.robust_video_matting import RobustVideoMatting

# By the names in the table of optional files.
NETWORKS: dict[str, type[nn.Module]] = {
    "rvm": RobustVideoMatting,
    "face-parsing": BiSeNet,
    "face-normals": ResNetUNet,
}


def load_published(name: str, path: Path) -> nn.Module:
    """The network called `name` with the weights at `path`, on the CPU. Raises UserError where they do not fit.

    Channels come last in memory, as in a picture file: a third faster on a CPU.
    """
    net = NETWORKS[name]()
    load_weights(net, path, optional_file(name).origin)
    return net.to(memory_format=torch.channels_last)
