"""One training step as a function of tensors: it can be recorded as a CUDA graph (`nha.core.cuda_graphs`)."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Optimizer

from nha.avatar.base import HeadAvatar
from nha.core.constants import present_values
from nha.core.cuda_graphs import CapturedFunction, Recorder
from nha.core.device import uses_cpu_kernels
from nha.core.processes import WHOLE_BATCH, BatchShare
from nha.core.types import FrameBatch, HeadParams, Rendering
from nha.losses.table import LossTable
from nha.optimization.config import OptimizationSettings
from nha.optimization.objective import Objective, render_batch
from nha.optimization.sampling import (
    highest_scores,
    parameter_noise,
    random_partners,
    random_scores,
    step_generator,
)
from nha.optimization.stages import Stage


@dataclass(frozen=True)
class StepDraws:
    """The random draws of a step.

    Attributes:
        partner: [N] long, another frame of the batch for each frame.
        noise: added to the parameters that condition the texture; None for none.
        scores: [N, H, W], the pixels with the highest are painted; None for all.
    """

    partner: Tensor
    noise: HeadParams | None = None
    scores: Tensor | None = None


def draw_step(
    settings: OptimizationSettings,
    stage: Stage,
    batch: FrameBatch,
    step: int,
    share: BatchShare = WHOLE_BATCH,
) -> StepDraws:
    """The draws of a step, which depend only on the run's seed and the step's number."""
    generator = step_generator(settings.run.seed, step)
    schedule, n = settings.schedule, len(batch)
    noise = scores = None
    if stage.paints and schedule.flame_noise > 0:
        deviations = (schedule.flame_noise, schedule.glob_rot_noise)
        noise = parameter_noise(batch.tracked, *deviations, generator, share)
    partner = random_partners(share.total(n), generator)[share.own(n)]
    device = batch.frame_id.device
    if stage.paints and settings.run.pixels_per_image:
        scores = random_scores(n, batch.camera.image_size, generator, share).to(device, non_blocking=True)
    return StepDraws(partner.to(device, non_blocking=True), noise, scores)


def render_step(
    avatar: HeadAvatar, stage: Stage, settings: OptimizationSettings, batch: FrameBatch, draws: StepDraws
) -> Rendering:
    """The rendering of a training batch; the mesh is rasterised once, here."""
    choose_pixels = None
    if draws.scores is not None:
        count = settings.run.pixels_per_image
        choose_pixels = functools.partial(highest_scores, draws.scores, count=count)
    return render_batch(avatar, stage, batch, condition_noise=draws.noise, choose_pixels=choose_pixels)


@dataclass(frozen=True)
class StepValues:
    """The losses and metrics of a step, without gradient.

    Attributes:
        names: of the losses with a weight, then "total", then of the others.
        values: [K], in this order.
        n_weighted: number of losses with a weight.
    """

    names: tuple[str, ...]
    values: Tensor
    n_weighted: int

    @classmethod
    def of(cls, losses: LossTable, weights: Mapping[str, float], total: Tensor) -> StepValues:
        """The values of a table of losses and their weighted sum."""
        table = {**losses.losses, **losses.metrics}
        weighted = losses.weighted_names(weights)
        others = [name for name in table if name not in weighted]
        columns = [*(table[name] for name in weighted), total, *(table[name] for name in others)]
        values = torch.stack([column.detach() for column in columns])
        return cls((*weighted, "total", *others), values, len(weighted))


class TrainingStep:
    """Forward pass, losses, backward pass and optimisers of a batch; a CUDA graph where there are graphs."""

    def __init__(
        self,
        avatar: HeadAvatar,
        objective: Objective,
        stage: Stage,
        settings: OptimizationSettings,
        optimizers: Iterable[Optimizer],
        *,
        capture: bool = True,
        recorder: Recorder | None = None,
    ) -> None:
        """Record nothing yet.

        Args:
            avatar, objective, stage, settings: of the run.
            optimizers: the ones that step in this stage.
            capture, recorder: see `CapturedFunction`.
        """
        self.avatar, self.objective, self.stage, self.settings = avatar, objective, stage, settings
        self.optimizers = list(optimizers)
        self.captured = CapturedFunction(
            self._step,
            f"the {stage.name} step",
            avatar.device,
            changes=[parameter for group in self._groups() for parameter in group["params"]],
            capture=capture,
            recorder=recorder,
        )

    def __call__(self, batch: FrameBatch, draws: StepDraws, weights: Mapping[str, float]) -> StepValues:
        """Take a step, with the learning rates that the optimisers have; the values are overwritten by the next one.

        Args:
            batch: N frames on the avatar's device.
            draws: see `draw_step`.
            weights: loss name -> weight; at least one is not 0.
        """
        rates = tuple(float(group["lr"]) for group in self._groups())
        active = tuple((name, weight) for name, weight in weights.items() if weight != 0)
        place = batch.tracked.rotation
        vector = present_values(tuple(float(weight) for _, weight in active), place)
        names = tuple(name for name, _ in active)
        return self.captured(batch, draws, names, vector, present_values(rates, place))

    def _step(
        self, batch: FrameBatch, draws: StepDraws, active: tuple[str, ...], weights: Tensor, rates: Tensor
    ) -> StepValues:
        rendering = render_step(self.avatar, self.stage, self.settings, batch, draws)
        losses = self.objective(self.stage.terms, self.avatar, rendering, batch, draws.partner)
        is_active = {name: float(name in active) for name in losses.names}
        total = losses.weighted_sum(is_active, weights)
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        total.backward()
        with rates_on_device(self._groups(), rates):
            for optimizer in self.optimizers:
                optimizer.step()
        return StepValues.of(losses, is_active, total)

    def _groups(self) -> list[dict]:
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]


@contextlib.contextmanager
def rates_on_device(groups: list[dict], rates: Tensor) -> Iterator[None]:
    """In the block, the groups' learning rates are scalars on the device, so that a graph reads their present values.

    On a CPU they stay numbers.
    """
    if uses_cpu_kernels(rates.device):
        yield
        return
    before = [group["lr"] for group in groups]
    for group, rate in zip(groups, rates.unbind(), strict=True):
        group["lr"] = rate
    try:
        yield
    finally:
        for group, rate in zip(groups, before, strict=True):
            group["lr"] = rate
