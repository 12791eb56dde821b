"""Fitting of the held-out frames' poses and exposures to a finished blend avatar. `docs/method.md`, section 5."""

from __future__ import annotations

from collections.abc import Iterable

from nha.avatar.blend_avatar import BlendAvatar
from nha.core.types import FrameBatch
from nha.optimization.adam_variants import RowAdam
from nha.optimization.held_out import only_moving
from nha.optimization.objective import Objective, render_batch
from nha.optimization.optimizers import pose_optimizer, set_pose_rate
from nha.optimization.stages import POSES, Stage

_RATE = 0.75  # the first learning rate, relative to that of the stage
_LAST_RATE = 0.1  # the learning rate falls linearly to this share
# These terms pull towards the tracking, which the fit corrects; with them, 0.3 dB less in the face of a real person.
_LEFT_OUT = ("expr_reg", "pose_reg")
# Here only the poses of single frames follow the landmarks, and the fit must not trade an opening for a colour.
_GAP_FACTOR = 5.0
_GAIN_RATE = 1.0  # of the exposure, relative to the rate of the poses


def fit_frames(
    avatar: BlendAvatar, objective: Objective, stage: Stage, batches: Iterable[FrameBatch], steps: int
) -> None:
    """Fit expression, pose and exposure of frames; everything else stays as it is.

    Args:
        avatar: the finished avatar.
        objective: the losses.
        stage: its terms, their weights in its last epoch, and the learning rate of its corrections.
        batches: the frames; each batch is fitted by itself.
        steps: number of Adam's steps.
    """
    weights = stage.weights_at(stage.end_epoch - 1) | dict.fromkeys(_LEFT_OUT, 0.0)
    weights["gap"] = _GAP_FACTOR * weights.get("gap", 0.0)
    first_rate = _RATE * stage.flame_lr
    moving = (*POSES, "eyes")
    tables = (avatar.log_gain, *(getattr(avatar.frame_parameters, name) for name in moving))
    with only_moving(avatar, tables):
        for batch in batches:
            batch = batch.to(avatar.device)
            poses = pose_optimizer(avatar.frame_parameters, moving, first_rate, RowAdam)
            gain = RowAdam([avatar.log_gain], lr=first_rate * _GAIN_RATE)
            for step in range(steps):
                rate = first_rate * (1 - (1 - _LAST_RATE) * step / max(steps - 1, 1))
                set_pose_rate(poses, rate)
                gain.param_groups[0]["lr"] = rate * _GAIN_RATE
                losses = objective(stage.terms, avatar, render_batch(avatar, stage, batch), batch)
                avatar.zero_grad()
                losses.weighted_sum(weights).backward()
                poses.step()
                gain.step()
