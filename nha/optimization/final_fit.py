"""Fitting of the held-out frames' poses and exposures to a finished blend avatar. `docs/method.md`, section 5."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from nha.avatar.blend_avatar import BlendAvatar
from nha.core.constants import present_values
from nha.core.cuda_graphs import CapturedFunction, Recorder
from nha.core.types import FrameBatch
from nha.optimization.adam_variants import RowAdam
from nha.optimization.held_out import only_moving
from nha.optimization.objective import Objective, render_batch
from nha.optimization.optimizers import pose_optimizer, set_pose_rate
from nha.optimization.stages import POSES, Stage
from nha.optimization.training_step import rates_on_device

_RATE = 0.75  # the first learning rate, relative to that of the stage
_LAST_RATE = 0.1  # the learning rate falls linearly to this share
# These terms pull towards the tracking, which the fit corrects; with them, 0.3 dB less in the face of a real person.
_LEFT_OUT = ("expr_reg", "pose_reg")
# Here only the poses of single frames follow the landmarks, and the fit must not trade an opening for a colour.
_GAP_FACTOR = 5.0
_GAIN_RATE = 1.0  # of the exposure, relative to the rate of the poses
_MOVING = (*POSES, "eyes")


def fit_frames(
    avatar: BlendAvatar,
    objective: Objective,
    stage: Stage,
    batches: Iterable[FrameBatch],
    steps: int,
    *,
    capture: bool = True,
    recorder: Recorder | None = None,
) -> None:
    """Fit expression, pose and exposure of frames; everything else stays as it is.

    Args:
        avatar: the finished avatar.
        objective: the losses.
        stage: its terms, their weights in its last epoch, and the learning rate of its corrections.
        batches: the frames; each batch is fitted by itself, and no frame is in two of them.
        steps: number of Adam's steps.
        capture, recorder: see `CapturedFunction`.
    """
    fit = _FrameFit(avatar, objective, stage, capture, recorder)
    with only_moving(avatar, fit.tables):
        for batch in batches:
            batch = batch.to(avatar.device)
            for step in range(steps):
                fit.step(batch, 1 - (1 - _LAST_RATE) * step / max(steps - 1, 1))


class _FrameFit:
    """One step of the fit, which may be a CUDA graph.

    The optimisers serve all batches, because each frame has its own rows with their own moments.

    Attributes:
        tables: what moves.
    """

    def __init__(
        self,
        avatar: BlendAvatar,
        objective: Objective,
        stage: Stage,
        capture: bool,
        recorder: Recorder | None,
    ) -> None:
        self._avatar, self._objective, self._stage = avatar, objective, stage
        self._weights = stage.weights_at(stage.end_epoch - 1) | dict.fromkeys(_LEFT_OUT, 0.0)
        self._weights["gap"] = _GAP_FACTOR * self._weights.get("gap", 0.0)
        self._first_rate = _RATE * stage.flame_lr
        self.tables = (avatar.log_gain, *(getattr(avatar.frame_parameters, name) for name in _MOVING))
        self._poses = pose_optimizer(avatar.frame_parameters, _MOVING, self._first_rate, RowAdam)
        self._gain = RowAdam([avatar.log_gain], lr=self._first_rate * _GAIN_RATE)
        self._groups = [*self._poses.param_groups, *self._gain.param_groups]
        self._captured = CapturedFunction(
            self._step,
            "the last fit of held-out frames",
            avatar.device,
            changes=self.tables,
            capture=capture,
            recorder=recorder,
        )

    def step(self, batch: FrameBatch, rate: float) -> None:
        """One step of a batch; rate: relative to the first one."""
        set_pose_rate(self._poses, rate * self._first_rate)
        self._gain.param_groups[0]["lr"] = rate * self._first_rate * _GAIN_RATE
        rates = tuple(float(group["lr"]) for group in self._groups)
        self._captured(batch, present_values(rates, self._avatar.log_gain))

    def _step(self, batch: FrameBatch, rates: Tensor) -> None:
        rendering = render_batch(self._avatar, self._stage, batch)
        losses = self._objective(self._stage.terms, self._avatar, rendering, batch)
        self._avatar.zero_grad()
        losses.weighted_sum(self._weights).backward()
        with rates_on_device(self._groups, rates):
            self._poses.step()
            self._gain.step()
