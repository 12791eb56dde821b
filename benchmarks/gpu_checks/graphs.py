"""Images and training steps from CUDA graphs against single operations."""

from __future__ import annotations

import copy

import torch

from bench import settings_of, synthetic_batch
from gpu_checks.table import Aim
from nha.avatar.image_renderer import image_renderer, render_images, render_rgba
from nha.avatar.open import build_avatar
from nha.core.cuda_graphs import WARM_UPS
from nha.core.device import seed_everything
from nha.core.paths import PART_WEIGHTS
from nha.head.load import load_head
from nha.optimization.objective import Objective
from nha.optimization.optimizers import begin_stage, make_optimizers
from nha.optimization.stages import make_stages
from nha.optimization.training_step import TrainingStep, draw_step

FRAMES = 4
STEPS = WARM_UPS + 5


def aims(model: str) -> list[Aim]:
    """The rows of a model."""
    return [
        Aim(f"{model}: rendering is a graph", 1, "", at_least=True),
        Aim(f"{model}: image of the graph, largest difference", 1e-5, ""),
        Aim(f"{model}: joint step is a graph", 1, "", at_least=True),
        Aim(f"{model}: sum of losses, relative difference", 1e-3, ""),
    ]


def measure(model: str, head_name: str, size: int, device: torch.device) -> dict[str, float]:
    """The figures of `aims`.

    Args:
        model: published or blend.
        head_name: of the head model.
        size: side of the square images in pixels.
        device: the device that is checked.
    """
    seed_everything(0)
    settings = settings_of(model, size)
    avatar = build_avatar(load_head(head_name), settings.avatar, FRAMES).to(device).eval()
    batch = synthetic_batch(avatar.head, FRAMES, size)
    differences = []
    for i in range(2 * FRAMES + WARM_UPS):
        one = batch.tracked[i % FRAMES :][:1], batch.camera[i % FRAMES :][:1]
        ids = batch.frame_id[i % FRAMES :][:1]
        with torch.no_grad():
            expected = avatar(*one, ids)
        found = render_images(avatar, *one, frame_ids=ids).rgba, render_rgba(avatar, *one, frame_ids=ids)
        differences += [(image - expected).abs().max().item() for image in found]
    twin = copy.deepcopy(avatar)
    steps = [_steps(each, settings, batch, capture) for each, capture in ((avatar, True), (twin, False))]
    (values, is_graph), (expected, _) = steps
    relative = ((values - expected).abs() / expected.abs().clamp_min(1e-6)).max().item()
    figures = (float(image_renderer(avatar).captures), max(differences), float(is_graph), relative)
    return dict(zip([aim.name for aim in aims(model)], figures, strict=True))


def _steps(avatar, settings, batch, capture: bool) -> tuple[torch.Tensor, bool]:
    """The sum of the losses [STEPS] in steps of the joint stage, and whether they were a graph."""
    stage = make_stages(settings)[2]
    active = begin_stage(avatar.train(), make_optimizers(avatar), stage)
    objective = Objective(avatar, PART_WEIGHTS, None).to(avatar.device)
    step = TrainingStep(avatar, objective, stage, settings, active, capture=capture)
    weights = stage.weights_at(stage.first_epoch)
    totals = []
    for i in range(STEPS):
        values = step(batch, draw_step(settings, stage, batch, i), weights)
        totals.append(values.values[values.names.index("total")].clone())
    return torch.stack(totals).cpu(), step.captured.captures
