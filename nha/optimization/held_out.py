"""Fitting of the poses of held-out frames, so that their scores measure shape and texture, not the tracking."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from nha.avatar.base import HeadAvatar
from nha.core.types import FrameBatch
from nha.losses.table import LossTable
from nha.optimization.objective import Objective, render_batch
from nha.optimization.optimizers import pose_optimizer
from nha.optimization.stages import Stage


def fit_held_out_pass(
    avatar: HeadAvatar,
    objective: Objective,
    stage: Stage,
    batches: Iterable[FrameBatch],
    epoch: float,
) -> LossTable | None:
    """One pass of SGD over held-out frames with the stage's losses, which changes only their pose corrections.

    Corrections are rows of tables, so rows of training frames get no gradient from these batches.
    `docs/method.md`, section 5.

    Args:
        avatar: the avatar.
        objective: the losses.
        stage: its terms, weights and learning rate are used.
        batches: batches of held-out frames.
        epoch: epoch of the run, for the weights.

    Returns:
        The losses of the last batch; None in a stage that fits no held-out frames, or without batches.
    """
    if not stage.held_out:
        return None
    device = avatar.device
    moving = [getattr(avatar.frame_parameters, name) for name in stage.held_out]
    optimizer = pose_optimizer(avatar.frame_parameters, stage.held_out, stage.flame_lr)
    losses = None
    with only_moving(avatar, moving):
        for batch in batches:
            batch = batch.to(device)
            losses = objective(stage.terms, avatar, render_batch(avatar, stage, batch), batch)
            optimizer.zero_grad()
            losses.weighted_sum(stage.weights_at(epoch)).backward()
            optimizer.step()
    return losses


@contextlib.contextmanager
def only_moving(avatar: HeadAvatar, moving: Iterable[Tensor]) -> Iterator[None]:
    """In the block, only the parameters `moving` of an avatar have gradients, and it is in evaluation mode."""
    moving = list(moving)
    required = [(parameter, parameter.requires_grad) for parameter in avatar.parameters()]
    was_training = avatar.training
    avatar.requires_grad_(False).eval()
    for parameter in moving:
        parameter.requires_grad_(True)
    with torch.enable_grad():
        yield
    for parameter in moving:
        parameter.grad = None
    for parameter, needed in required:
        parameter.requires_grad_(needed)
    avatar.train(was_training)
