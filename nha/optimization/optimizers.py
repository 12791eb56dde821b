"""The optimisers of a run and their state in each stage. `docs/method.md`, section 5."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import nn
from torch.optim import Adam, Optimizer

from nha.avatar.base import HeadAvatar
from nha.avatar.blend_avatar import BlendAvatar
from nha.avatar.frame_parameters import FrameParameters
from nha.core.device import uses_cpu_kernels
from nha.optimization.adam_variants import RowAdam, UniformAdam
from nha.optimization.stages import CORRECTIONS, OFFSETS, TEXTURE, Stage

FRAME_TABLES = ("shape", "expr", "rotation", "jaw", "neck", "translation", "eyes")
TRANSLATION_RATE = 0.1  # of the other corrections' learning rate
# Rates of the blend model's parameters relative to those of the offsets and of the texture images.
COEFFICIENT_RATE = 5.0
ASYMMETRY_RATE, SHAPES_RATE = 0.3, 0.3
SHAPE_WEIGHTS_RATE, TEXTURE_WEIGHTS_RATE, LIGHT_RATE = 10.0, 0.1, 0.2


def offset_parameters(avatar: HeadAvatar) -> list[nn.Parameter]:
    """The parameters of the vertex offsets."""
    if isinstance(avatar, BlendAvatar):
        return [parameter for group in _blend_offset_groups(avatar) for parameter in group["params"]]
    return [avatar.vertex_features, *avatar.offset_net.parameters()]


def texture_parameters(avatar: HeadAvatar) -> list[nn.Parameter]:
    """The parameters of the colours."""
    if isinstance(avatar, BlendAvatar):
        return [parameter for group in _blend_texture_groups(avatar) for parameter in group["params"]]
    nets = (avatar.texture_net, avatar.normal_encoder, avatar.neural_texture)
    return [parameter for net in nets for parameter in net.parameters()]


def pose_optimizer(
    corrections: FrameParameters,
    names: Iterable[str],
    rate: float,
    kind: type[Optimizer] = torch.optim.SGD,
) -> Optimizer:
    """An optimiser of the named corrections, one parameter group each, because the translation has its own rate."""
    groups = [{"params": [getattr(corrections, name)], "name": name} for name in names]
    fused = kind is torch.optim.SGD and not uses_cpu_kernels(corrections.shape.device)
    optimizer = kind(groups, lr=rate, **({"fused": True} if fused else {}))
    set_pose_rate(optimizer, rate)
    return optimizer


def set_pose_rate(optimizer: Optimizer, rate: float) -> None:
    """Set the learning rate of the corrections' optimiser; the translation takes a tenth of it.

    Adam's steps have the size of the rate, so coefficients, whose unit is a standard deviation, get a higher one.
    """
    for group in optimizer.param_groups:
        name = group["name"]
        coefficients = isinstance(optimizer, RowAdam) and name in ("shape", "expr")
        group["lr"] = rate * (
            TRANSLATION_RATE if name == "translation" else COEFFICIENT_RATE if coefficients else 1
        )


def make_optimizers(avatar: HeadAvatar) -> dict[str, Optimizer]:
    """The optimisers of the corrections, the offsets and the texture, by name; each stage sets the rates.

    They exist for the whole run, so Adam's state is kept from one stage to the next that uses it.
    """
    if isinstance(avatar, BlendAvatar):
        corrections = pose_optimizer(avatar.frame_parameters, FRAME_TABLES, 0.0, RowAdam)
        for group in corrections.param_groups:
            group["centred"] = group["name"] != "shape"  # which has one row for all frames
        return {
            CORRECTIONS: corrections,
            OFFSETS: UniformAdam(_blend_offset_groups(avatar), lr=0.0),
            TEXTURE: Adam(_blend_texture_groups(avatar), lr=0.0, **_adam_options(avatar.device)),
        }
    options = _adam_options(avatar.device)
    return {
        CORRECTIONS: pose_optimizer(avatar.frame_parameters, FRAME_TABLES, 0.0),
        OFFSETS: Adam(offset_parameters(avatar), lr=0.0, **options),
        TEXTURE: Adam(texture_parameters(avatar), lr=0.0, **options),
    }


def _adam_options(device: torch.device) -> dict[str, bool]:
    """On an accelerator one kernel steps all parameters; on CUDA it can be part of a graph."""
    if uses_cpu_kernels(device):
        return {}
    return {"fused": True, "capturable": device.type == "cuda"}


def _blend_offset_groups(avatar: BlendAvatar) -> list[dict]:
    """Parameter groups of the offsets; `rate` is relative to the stage's rate."""
    return [
        {"params": [avatar.static_offsets], "rate": 1.0},
        {"params": [avatar.asymmetry], "rate": ASYMMETRY_RATE},
        {"params": [avatar.shapes], "rate": SHAPES_RATE},
        {"params": [avatar.shape_weights], "rate": SHAPE_WEIGHTS_RATE},
    ]


def _blend_texture_groups(avatar: BlendAvatar) -> list[dict]:
    """Parameter groups of the colours; `rate` and `decay` are relative to the stage's rate and weight decay."""
    textures = (avatar.head_texture, avatar.mouth_texture)
    return [
        {"params": [p for t in textures for p in t.mean.parameters()], "rate": 1.0, "decay": 0.0},
        {"params": [p for t in textures for p in t.basis.parameters()], "rate": 1.0, "decay": 1.0},
        {"params": [*avatar.texture_weights.parameters()], "rate": TEXTURE_WEIGHTS_RATE, "decay": 1.0},
        {"params": [avatar.light, avatar.log_gain], "rate": LIGHT_RATE, "decay": 0.0},
    ]


def set_rates(optimizers: Mapping[str, Optimizer], stage: Stage, epoch: float) -> None:
    """Set the stage's learning rates and weight decay at an epoch of the run."""
    factor = stage.rate_at(epoch)
    set_pose_rate(optimizers[CORRECTIONS], factor * stage.flame_lr)
    for group in optimizers[OFFSETS].param_groups:
        group["lr"] = factor * stage.offset_lr * group.get("rate", 1)
    for group in optimizers[TEXTURE].param_groups:
        group["lr"] = factor * stage.tex_lr * group.get("rate", 1)
        group["weight_decay"] = stage.texture_weight_decay * group.get("decay", 1)


def begin_stage(avatar: HeadAvatar, optimizers: Mapping[str, Optimizer], stage: Stage) -> list[Optimizer]:
    """Set the stage's rates and weight decay, and freeze the parameters that it does not optimise.

    Returns:
        The optimisers that step in this stage.
    """
    set_rates(optimizers, stage, stage.first_epoch)
    for name in FRAME_TABLES:
        getattr(avatar.frame_parameters, name).requires_grad_(name in stage.moved)
    for parameter in offset_parameters(avatar):
        parameter.requires_grad_(OFFSETS in stage.optimizers)
    for parameter in texture_parameters(avatar):
        parameter.requires_grad_(TEXTURE in stage.optimizers)
    return [optimizers[name] for name in stage.optimizers]
