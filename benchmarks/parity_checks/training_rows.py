"""Rows of losses, weights, IoU and gradients of the three stages, in training mode without noise."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from torch import Tensor

from nha.avatar.avatar import NeuralHeadAvatar
from nha.core.images import erode
from nha.core.paths import PART_WEIGHTS
from nha.core.types import FrameBatch
from nha.data.cues import semantic_trust
from nha.head.joint_limits import neck_angles
from nha.losses.masks import whiten_background
from nha.losses.perceptual import SIZE_IN_RADII
from nha.losses.table import LossTable
from nha.losses.terms import TERMS
from nha.optimization.config import LossSettings, OptimizationSettings, RunSettings, ScheduleSettings
from nha.optimization.objective import Objective, render_batch
from nha.optimization.optimizers import FRAME_TABLES, TRANSLATION_RATE, offset_parameters
from nha.optimization.stages import Stage, make_stages
from parity_checks.golden_folder import GoldenFolder
from parity_checks.report import Report

STAGES = {"offset": "geometry", "texture": "texture", "joint": "joint"}  # published name -> name
SCHEDULED = {"lap": "lap", "semantic": "semantic_hair", "silh": "silh"}  # published `decay_*` -> loss term


def check_stages(report: Report, golden: GoldenFolder, avatar: NeuralHeadAvatar) -> None:
    """Check every quantity of the folder's stages."""
    batch = golden.batch().to(avatar.device)
    objective = Objective(avatar, PART_WEIGHTS, perceptual=substitute_perceptual).to(batch.rgb01.device)
    stages = {stage.name: stage for stage in golden_stages(golden)}
    avatar.train().requires_grad_(True)
    for name in golden.stage_names:
        if name not in STAGES:
            continue
        stage, epoch = stages[STAGES[name]], golden.scalars[f"{name}/epoch"]
        avatar.zero_grad()
        table = objective(stage.terms, avatar, render_batch(avatar, stage, batch), batch)
        total = table.weighted_sum(stage.weights_at(epoch))
        total.backward()
        check_losses(report, golden, name, table, total)
        check_settings(report, golden, name, stage, epoch)
        check_gradients(report, golden, name, avatar)
    check_preparation(report, golden, batch)
    avatar.eval()


def golden_stages(golden: GoldenFolder) -> tuple[Stage, ...]:
    """The stages with the checkpoint's hyper-parameters."""
    hyper = golden.checkpoint.hyper_parameters

    def fill(settings_type: type):
        known = {field.name for field in dataclasses.fields(settings_type)}
        return settings_type(**{key: value for key, value in hyper.items() if key in known})

    settings = OptimizationSettings(
        run=RunSettings(default_root_dir=Path()),
        data=None,
        schedule=fill(ScheduleSettings),
        losses=fill(LossSettings),
    )
    return make_stages(settings)


def substitute_perceptual(rgb01: Tensor, target_rgb01: Tensor, alpha: Tensor) -> Tensor:
    """The golden README's substitute: mean squared difference in -1..1, no gradient near the silhouette."""
    interior = erode(alpha > 0.5, max(rgb01.shape[2:]) // SIZE_IN_RADII)
    rendered = torch.where(interior, rgb01, rgb01.detach())
    return ((rendered - target_rgb01) * 2).square().mean()


def check_losses(report: Report, golden: GoldenFolder, name: str, table: LossTable, total: Tensor) -> None:
    """Check unweighted losses, IoU and the total."""
    ours = table.metrics | {_published_name(loss): value for loss, value in table.losses.items()}
    for key, value in (ours | {"total_loss": total}).items():
        quantity = f"{name}/{key}"
        if quantity not in golden.scalars:
            continue
        theirs = golden.scalars[quantity]
        if key == "surface_reg" and len(golden.arrays["in_frame"]) > 2:
            report.not_checked(quantity, "the reference drew each frame's partner at random")
        elif key == "edge_loss":
            report.absolute(quantity, value, torch.tensor(theirs), "edge_loss")
        else:
            report.relative(quantity, value, theirs)


def _published_name(loss: str) -> str:
    if loss.endswith("_reg"):
        return loss
    return (
        f"semantic_loss_{loss.removeprefix('semantic_')}" if loss.startswith("semantic_") else f"{loss}_loss"
    )


def check_settings(report: Report, golden: GoldenFolder, name: str, stage: Stage, epoch: float) -> None:
    """Check weights and learning rates at the folder's epoch, including those that the stage does not use."""
    weights = dataclasses.replace(stage, terms=tuple(TERMS.values())).weights_at(epoch)
    ours = {f"decay_{key}": weights[loss] for key, loss in SCHEDULED.items()}
    ours |= {f"weight/w_{loss}": weight for loss, weight in weights.items()}
    rates = {key: getattr(stage, key) for key in ("texture_weight_decay", "flame_lr", "offset_lr", "tex_lr")}
    rates["trans_lr"] = stage.flame_lr * TRANSLATION_RATE
    ours |= {f"weight/{key}": rate for key, rate in rates.items()}
    for key, value in ours.items():
        if f"{name}/{key}" in golden.scalars:
            report.relative(f"{name}/{key}", value, golden.scalars[f"{name}/{key}"])


def check_gradients(report: Report, golden: GoldenFolder, name: str, avatar: NeuralHeadAvatar) -> None:
    """Check gradients of the total loss: of each correction, and the norms of all parameter groups."""
    corrections = avatar.frame_parameters
    for table in FRAME_TABLES:
        if f"grad_{name}_{table}" in golden.arrays:
            parameter = getattr(corrections, table)
            gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            report.gradient(f"grad_{name}_{table}", gradient, golden.tensor(f"grad_{name}_{table}"))
    groups = {
        **{table: [getattr(corrections, table)] for table in FRAME_TABLES},
        "vert_feats": [avatar.vertex_features],
        "offset_mlp": offset_parameters(avatar)[1:],
        "texture": list(avatar.texture_net.parameters()),
        "normal_encoder": list(avatar.normal_encoder.parameters()),
        "expl": list(avatar.neural_texture.parameters()),
    }
    for group, parameters in groups.items():
        if f"{name}/gradnorm/{group}" in golden.scalars:
            squares = sum(p.grad.square().sum() for p in parameters if p.grad is not None)
            theirs = golden.scalars[f"{name}/gradnorm/{group}"]
            report.relative(f"{name}/gradnorm/{group}", squares**0.5, theirs, "gradient_norm")


def check_preparation(report: Report, golden: GoldenFolder, batch: FrameBatch) -> None:
    """Check the quantities that the losses derive from the annotations."""
    trust = semantic_trust(batch.tracked.rotation, neck_angles(batch.tracked.neck))
    report.absolute("trust_semantics", trust, golden.tensor("trust_semantics"), "prep")
    target_pm1 = whiten_background(batch.rgb01, batch.segmentation) * 2 - 1
    report.absolute("prep_rgb", target_pm1, golden.tensor("prep_rgb"), "prep")
    landmarks = torch.cat([batch.landmarks_px, batch.iris_px], 1)
    report.absolute("prep_lmk2d", landmarks, golden.tensor("prep_lmk2d")[..., :2], "prep")
