"""Fused kernels of `nha.core.launches` against single operations of torch on the same device."""

from __future__ import annotations

import copy
import os
from unittest import mock

import torch
from torch import Tensor

from bench import settings_of, synthetic_batch
from gpu_checks.table import Aim
from nha.avatar.base import HeadAvatar
from nha.avatar.open import build_avatar
from nha.core.device import seed_everything
from nha.core.paths import PART_WEIGHTS
from nha.core.types import FrameBatch
from nha.head.load import load_head
from nha.optimization.config import OptimizationSettings
from nha.optimization.objective import Objective
from nha.optimization.optimizers import begin_stage, make_optimizers
from nha.optimization.stages import make_stages
from nha.optimization.training_step import draw_step, render_step

FRAMES = 4
VISIBLE = 1e-3  # difference of a colour or of the coverage from which a pixel counts as another


def aims(model: str) -> list[Aim]:
    """The rows of a model. Where a face ends exactly at a pixel's centre, rounding decides what the pixel shows."""
    return [
        Aim(f"{model}: share of other pixels with fused kernels", 1e-3, ""),
        Aim(f"{model}: sum of losses with fused kernels, relative difference", 1e-3, ""),
        Aim(f"{model}: gradients with fused kernels, relative difference", 2e-2, ""),
    ]


def measure(model: str, head_name: str, size: int, device: torch.device) -> dict[str, float]:
    """The figures of `aims`: images, losses and gradients of a joint step of an avatar with random weights.

    Args:
        model: published or blend.
        head_name: of the head model.
        size: side of the square images in pixels.
        device: the device that is checked.
    """
    seed_everything(0)
    settings = settings_of(model, size)
    avatar = build_avatar(load_head(head_name), settings.avatar, FRAMES).to(device)
    batch = synthetic_batch(avatar.head, FRAMES, size)
    fused = _step(copy.deepcopy(avatar), settings, batch)
    with mock.patch.dict(os.environ, NHA_FUSED_KERNELS="0"):
        plain = _step(avatar, settings, batch)
    other = ((fused[0] - plain[0]).abs().amax(1) > VISIBLE).float().mean()
    relative = [
        float((ours - theirs).norm() / theirs.norm())
        for ours, theirs in zip(fused[1:], plain[1:], strict=True)
    ]
    return dict(zip([aim.name for aim in aims(model)], [float(other), *relative], strict=True))


def _step(
    avatar: HeadAvatar, settings: OptimizationSettings, batch: FrameBatch
) -> tuple[Tensor, Tensor, Tensor]:
    """Images [N, 4, H, W], the sum of the losses, and all gradients in one vector."""
    stage = make_stages(settings)[2]
    begin_stage(avatar.train(), make_optimizers(avatar), stage)
    draws = draw_step(settings, stage, batch, 0)
    rendering = render_step(avatar, stage, settings, batch, draws)
    objective = Objective(avatar, PART_WEIGHTS, None).to(avatar.device)
    losses = objective(stage.terms, avatar, rendering, batch, draws.partner)
    weights = stage.weights_at(stage.first_epoch)
    total = sum(weights[name] * value for name, value in losses.losses.items() if weights.get(name))
    total.backward()
    gradients = [parameter.grad.flatten() for parameter in avatar.parameters() if parameter.grad is not None]
    return rendering.rgba.detach(), total.detach(), torch.cat(gradients)
