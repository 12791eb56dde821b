"""One stage of the optimisation as a Lightning module: render a batch, compare it with the annotations, step."""

from __future__ import annotations

import functools
from collections.abc import Iterable

import pytorch_lightning as lightning
import torch
from torch import Tensor

from nha.avatar.avatar import NeuralHeadAvatar
from nha.core.processes import BatchShare
from nha.core.types import FrameBatch, Rendering
from nha.losses.table import LossTable
from nha.optimization.config import OptimizationSettings
from nha.optimization.objective import Objective
from nha.optimization.optimizers import begin_stage, make_optimizers
from nha.optimization.sampling import (
    highest_scores,
    parameter_noise,
    random_partners,
    random_scores,
    step_generator,
)
from nha.optimization.stages import Stage


class AvatarModule(lightning.LightningModule):
    """An avatar in one stage of its optimisation; the optimisers exist through all stages."""

    def __init__(
        self, avatar: NeuralHeadAvatar, objective: Objective, stage: Stage, settings: OptimizationSettings
    ) -> None:
        super().__init__()
        # several optimisers, of which a stage steps some: Lightning's automatic loop handles only one
        self.automatic_optimization = False
        self.strict_loading = False  # the objective (a loss network, at most) is not part of checkpoints
        self.avatar = avatar
        self.objective = objective
        self.stage = stage
        self.settings = settings
        self.last_losses: LossTable | None = None
        self._names: tuple[str, ...] = ()

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        optimizers = make_optimizers(self.avatar)
        self._names = tuple(optimizers)
        return list(optimizers.values())

    def on_train_start(self) -> None:
        # after a checkpoint has been restored: the rates are the stage's, not those of the optimisers' saved state
        begin_stage(self.avatar, self._by_name(self.trainer.optimizers), self.stage)

    def training_step(self, batch: FrameBatch, _: int) -> None:
        rendering, partner = self.render(batch)
        losses = self.objective(self.stage.terms, self.avatar, rendering, batch, partner)
        # averaging the gradients over processes would divide the sums over the batch's frames
        summed = [term.name for term in self.stage.terms if term.sums_over_frames]
        losses = losses.times(self.share.n_processes, summed)
        total = losses.weighted_sum(self.stage.weights_at(self.current_epoch))
        optimizers = self._by_name(self.optimizers())
        for optimizer in optimizers.values():
            optimizer.zero_grad()
        self.manual_backward(total)
        for name in self.stage.optimizers:
            optimizers[name].step()
        self.last_losses = losses
        logged = {**losses.for_log("train"), "train/total": total.detach()}
        spread = self.share.n_processes > 1
        self.log_dict(logged, batch_size=len(batch), on_step=False, on_epoch=True, sync_dist=spread)

    @property
    def share(self) -> BatchShare:
        """Which part of each batch this process has."""
        return BatchShare(self.trainer.global_rank, self.trainer.world_size)

    def render(self, batch: FrameBatch) -> tuple[Rendering, Tensor]:
        """Render a training batch with this step's random draws: the rendering, and a partner for each frame [N].

        The mesh is rasterised here, once.
        """
        generator = step_generator(self.settings.run.seed, self.global_step)
        schedule, n, paints = self.settings.schedule, len(batch), self.stage.paints
        noise = choose_pixels = None
        if paints and schedule.flame_noise > 0:
            deviations = (schedule.flame_noise, schedule.glob_rot_noise)
            noise = parameter_noise(batch.tracked, *deviations, generator, self.share)
        partner = random_partners(self.share.total(n), generator)[self.share.own(n)]
        count = self.settings.run.pixels_per_image
        if paints and count:
            scores = random_scores(n, batch.camera.image_size, generator, self.share)
            choose_pixels = functools.partial(highest_scores, scores, count=count)
        rendering = self.avatar.render(
            batch.tracked,
            batch.camera,
            frame_ids=batch.frame_id,
            channels=self.stage.channels,
            paint=paints,
            condition_noise=noise,
            choose_pixels=choose_pixels,
        )
        return rendering, partner.to(self.device)

    def _by_name(self, optimizers: Iterable) -> dict:
        return dict(zip(self._names, optimizers, strict=True))

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        state: dict[str, Tensor] = checkpoint["state_dict"]
        checkpoint["state_dict"] = {key: value for key, value in state.items() if key.startswith("avatar.")}
