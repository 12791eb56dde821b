"""Fitting of the poses of held-out frames, so that their scores measure shape and texture, not the tracking."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from nha.avatar.base import HeadAvatar
from nha.core.constants import present_values
from nha.core.cuda_graphs import CapturedFunction, Recorder
from nha.core.derived import recomputed
from nha.core.types import FrameBatch
from nha.optimization.objective import Objective, render_batch
from nha.optimization.optimizers import pose_optimizer
from nha.optimization.stages import Stage
from nha.optimization.training_step import StepValues


class HeldOutFit:
    """Fits the pose corrections of held-out frames with a stage's losses; nothing else is learned from these frames.

    Corrections are rows of tables, so rows of training frames get no gradient from these batches.
    `docs/method.md`, section 5.
    """

    def __init__(
        self,
        avatar: HeadAvatar,
        objective: Objective,
        stage: Stage,
        *,
        capture: bool = False,
        recorder: Recorder | None = None,
    ) -> None:
        """Prepare the fit.

        Args:
            avatar: the avatar.
            objective: the losses.
            stage: its terms, weights and learning rate are used.
            capture, recorder: see `CapturedFunction`.
        """
        self.avatar, self.objective, self.stage = avatar, objective, stage
        self.moving = [getattr(avatar.frame_parameters, name) for name in stage.held_out]
        self.optimizer = pose_optimizer(avatar.frame_parameters, stage.held_out, stage.flame_lr)
        self._captured = CapturedFunction(
            self._step,
            "the fit of held-out frames",
            avatar.device,
            changes=self.moving,
            capture=capture,
            recorder=recorder,
        )

    def __call__(self, batches: Iterable[FrameBatch], epoch: float) -> StepValues | None:
        """One pass of SGD over batches of held-out frames.

        Args:
            batches: batches of held-out frames.
            epoch: epoch of the run, for the weights.

        Returns:
            The losses of the last batch; None without batches.
        """
        device, values = self.avatar.device, None
        weights = {name: weight for name, weight in self.stage.weights_at(epoch).items() if weight != 0}
        vector = present_values(tuple(map(float, weights.values())), self.moving[0])
        with only_moving(self.avatar, self.moving):
            for batch in batches:
                values = self._captured(batch.to(device), tuple(weights), vector)
        return values

    def _step(self, batch: FrameBatch, active: tuple[str, ...], weights: Tensor) -> StepValues:
        stage = self.stage
        with recomputed():  # the networks change between two passes, but the recorded step is the same
            rendering = render_batch(self.avatar, stage, batch)
            losses = self.objective(stage.terms, self.avatar, rendering, batch)
        is_active = {name: float(name in active) for name in losses.names}
        total = losses.weighted_sum(is_active, weights)
        self.optimizer.zero_grad()
        total.backward()
        self.optimizer.step()
        return StepValues.of(losses, is_active, total)


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
