"""Lists of pixels that become too short while graphs use them: a head that comes nearer."""

from __future__ import annotations

from dataclasses import replace

import torch

from bench import HEAD_DISTANCE_METRES, settings_of, synthetic_batch
from gpu_checks.table import Aim
from nha.avatar.image_renderer import ImageRenderer
from nha.avatar.open import build_avatar
from nha.core.cuda_graphs import WARM_UPS
from nha.core.device import seed_everything
from nha.core.paths import PART_WEIGHTS
from nha.core.pixel_lists import ListLengths, fixed_lengths
from nha.core.types import FrameBatch
from nha.head.load import load_head
from nha.optimization.objective import Objective, render_batch
from nha.optimization.optimizers import begin_stage, make_optimizers
from nha.optimization.stages import make_stages
from nha.optimization.training_step import TrainingStep, draw_step

AIMS = [
    Aim("growing lists: image, largest difference", 1e-5, ""),
    Aim("growing lists: covered pixels missing after training", 0, "pixels"),
]
FAR = 2.5  # times the distance of the other images
STEPS = WARM_UPS + 6


def measure(head_name: str, size: int, device: torch.device) -> dict[str, float]:
    """The figures of AIMS for the published model.

    Args:
        head_name: of the head model.
        size: side of the square images in pixels.
        device: the device that is checked.
    """
    seed_everything(0)
    settings = settings_of("published", size)
    avatar = build_avatar(load_head(head_name), settings.avatar, 2).to(device).eval()
    near = synthetic_batch(avatar.head, 2, size)
    far = _farther(near)
    figures = _image_difference(avatar, near, far), _missing_pixels(avatar, settings, near, far)
    return dict(zip([aim.name for aim in AIMS], figures, strict=True))


def _farther(batch: FrameBatch) -> FrameBatch:
    moved = batch.tracked.translation.clone()
    moved[:, 2] += (FAR - 1) * HEAD_DISTANCE_METRES
    return replace(batch, tracked=batch.tracked.replace(translation=moved))


@torch.no_grad()
def _image_difference(avatar, near: FrameBatch, far: FrameBatch) -> float:
    """Between the first near image of a graph that was recorded with far ones, and the same without a graph."""
    renderer = ImageRenderer(avatar)
    for batch in (*[far] * (WARM_UPS + 2), near):
        found = renderer.rgba(batch.tracked[:1], batch.camera[:1], batch.frame_id[:1], None, (False, ()))
    return (found - avatar(near.tracked[:1], near.camera[:1], near.frame_id[:1])).abs().max().item()


def _missing_pixels(avatar, settings, near: FrameBatch, far: FrameBatch) -> float:
    """Pixels that the lists of a training step lack after some steps with near images."""
    stage = make_stages(settings)[2]
    active = begin_stage(avatar.train(), make_optimizers(avatar), stage)
    objective = Objective(avatar, PART_WEIGHTS, None).to(avatar.device)
    step = TrainingStep(avatar, objective, stage, settings, active)
    weights = stage.weights_at(stage.first_epoch)
    for i, batch in enumerate([far] * STEPS + [near] * STEPS):
        step(batch, draw_step(settings, stage, batch, i), weights)
        if avatar.device.type == "cuda":
            torch.cuda.synchronize()  # so that the counts of this step have arrived at the next one
    return float(
        _covered(avatar, stage, near, ListLengths()) - _covered(avatar, stage, near, step.captured.lengths)
    )


@torch.no_grad()
def _covered(avatar, stage, batch: FrameBatch, lengths: ListLengths) -> int:
    """The number of covered pixels of a rendering with lists of these lengths."""
    frozen, lengths.frozen = lengths.frozen, True
    try:
        with fixed_lengths(lengths):
            return int((render_batch(avatar, stage, batch).alpha > 0.5).sum())
    finally:
        lengths.frozen = frozen
