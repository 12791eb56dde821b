"""The three optimisers of a run and their state in each stage. `docs/method.md`, section 5."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import nn
from torch.optim import Adam, Optimizer

from nha.avatar.avatar import NeuralHeadAvatar
from nha.avatar.frame_parameters import FrameParameters
from nha.core.device import uses_cpu_kernels
from nha.optimization.stages import CORRECTIONS, OFFSETS, TEXTURE, Stage

FRAME_TABLES = ("shape", "expr", "rotation", "jaw", "neck", "translation", "eyes")
TRANSLATION_RATE = 0.1  # of the other corrections' learning rate


def offset_parameters(avatar: NeuralHeadAvatar) -> list[nn.Parameter]:
    """The offset network and the vertex features."""
    return [avatar.vertex_features, *avatar.offset_net.parameters()]


def texture_parameters(avatar: NeuralHeadAvatar) -> list[nn.Parameter]:
    """Texture network, normal encoder and feature maps."""
    nets = (avatar.texture_net, avatar.normal_encoder, avatar.neural_texture)
    return [parameter for net in nets for parameter in net.parameters()]


def pose_optimizer(corrections: FrameParameters, names: Iterable[str], rate: float) -> torch.optim.SGD:
    """Plain SGD on the named corrections, one parameter group each, because the translation has its own rate."""
    groups = [{"params": [getattr(corrections, name)], "name": name} for name in names]
    optimizer = torch.optim.SGD(groups, lr=rate)
    set_pose_rate(optimizer, rate)
    return optimizer


def set_pose_rate(optimizer: Optimizer, rate: float) -> None:
    """Set the learning rate of the corrections' optimiser; the translation takes a tenth of it."""
    for group in optimizer.param_groups:
        group["lr"] = rate * (TRANSLATION_RATE if group["name"] == "translation" else 1)


def make_optimizers(avatar: NeuralHeadAvatar) -> dict[str, Optimizer]:
    """SGD on all corrections, Adam on the offsets and Adam on the texture, by name; each stage sets the rates.

    They exist for the whole run, so Adam's state is kept from one stage to the next that uses it.
    """
    fused = (
        not uses_cpu_kernels(avatar.device) or None
    )  # one kernel for all parameters; None is torch's choice
    return {
        CORRECTIONS: pose_optimizer(avatar.frame_parameters, FRAME_TABLES, 0.0),
        OFFSETS: Adam(offset_parameters(avatar), lr=0.0, fused=fused),
        TEXTURE: Adam(texture_parameters(avatar), lr=0.0, fused=fused),
    }


def begin_stage(
    avatar: NeuralHeadAvatar, optimizers: Mapping[str, Optimizer], stage: Stage
) -> list[Optimizer]:
    """Set the stage's rates and weight decay, and freeze the parameters that it does not optimise.

    Returns:
        The optimisers that step in this stage.
    """
    set_pose_rate(optimizers[CORRECTIONS], stage.flame_lr)
    optimizers[OFFSETS].param_groups[0]["lr"] = stage.offset_lr
    optimizers[TEXTURE].param_groups[0]["lr"] = stage.tex_lr
    optimizers[TEXTURE].param_groups[0]["weight_decay"] = stage.texture_weight_decay
    for name in FRAME_TABLES:
        getattr(avatar.frame_parameters, name).requires_grad_(name in stage.moved)
    for parameter in offset_parameters(avatar):
        parameter.requires_grad_(OFFSETS in stage.optimizers)
    for parameter in texture_parameters(avatar):
        parameter.requires_grad_(TEXTURE in stage.optimizers)
    return [optimizers[name] for name in stage.optimizers]
