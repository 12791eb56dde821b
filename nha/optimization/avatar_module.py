"""One stage of the optimisation as a Lightning module: render a batch, evaluate the losses, step the optimisers."""

from __future__ import annotations

import functools
from collections.abc import Iterable

import pytorch_lightning as lightning
import torch
from torch import Tensor

from nha.avatar.base import HeadAvatar
from nha.core.device import uses_cpu_kernels
from nha.core.pixel_lists import ListLengths, fixed_lengths
from nha.core.processes import BatchShare
from nha.core.system import get_logger
from nha.core.types import FrameBatch, Rendering
from nha.data.messages import some_of
from nha.losses.table import LossTable
from nha.optimization.config import OptimizationSettings
from nha.optimization.loss_watch import LossWatch
from nha.optimization.objective import Objective, render_batch
from nha.optimization.optimizers import begin_stage, make_optimizers, set_rates
from nha.optimization.sampling import (
    highest_scores,
    parameter_noise,
    random_partners,
    random_scores,
    step_generator,
)
from nha.optimization.stages import TEXTURE, Stage
from nha.optimization.training_state import EPOCHS_KEY, RUN_KEY


class AvatarModule(lightning.LightningModule):
    """An avatar in one stage of its optimisation. All stages share the optimisers through the training checkpoint."""

    def __init__(
        self,
        avatar: HeadAvatar,
        objective: Objective,
        stage: Stage,
        settings: OptimizationSettings,
        run: str = "",
    ) -> None:
        """run: identifies the run in its training checkpoint."""
        super().__init__()
        # Lightning's automatic loop handles a single optimiser; here a stage steps some of several
        self.automatic_optimization = False
        self.strict_loading = False  # checkpoints do not hold the network of the perceptual term
        self.avatar = avatar
        self.objective = objective
        self.stage = stage
        self.settings = settings
        self.run = run
        self.last_losses: LossTable | None = None
        self.frames_outside: set[int] = set()  # frames of batches that were skipped
        self._watch = LossWatch()
        self._names: tuple[str, ...] = ()
        self._lengths = ListLengths()

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        optimizers = make_optimizers(self.avatar)
        self._names = tuple(optimizers)
        return list(optimizers.values())

    def on_train_start(self) -> None:
        # called after a checkpoint is restored, so that the rates are the stage's and not those of the saved state
        begin_stage(self.avatar, self._by_name(self.trainer.optimizers), self.stage)

    def on_train_epoch_start(self) -> None:
        set_rates(self._by_name(self.trainer.optimizers), self.stage, self.current_epoch)

    def training_step(self, batch: FrameBatch, _: int) -> None:
        rendering, partner = self.render(batch)
        losses = self.objective(self.stage.terms, self.avatar, rendering, batch, partner)
        # DDP averages the gradients over processes, which would divide sums over the frames of the batch
        summed = [term.name for term in self.stage.terms if term.sums_over_frames]
        losses = losses.times(self.share.n_processes, summed)
        weights = self.stage.weights_at(self.current_epoch)
        total = losses.weighted_sum(weights)
        if self.share.n_processes == 1 and self._teaches_nothing(total, rendering):
            self.frames_outside.update(batch.frame_id.tolist())
            return
        self._watch.observe(losses, weights, total, self.current_epoch)
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

    def _teaches_nothing(self, total: Tensor, rendering: Rendering) -> bool:
        """Whether no head of a batch is in its image, so that nothing that the stage moves can be learned from it."""
        if not total.requires_grad:
            return True
        # on an accelerator the test would wait for the device; there the step has a gradient of zero
        only_colours = self.stage.optimizers == (TEXTURE,)
        return only_colours and self.device.type == "cpu" and not bool((rendering.alpha > 0.5).any())

    def on_train_epoch_end(self) -> None:
        # called before the callback that saves the epoch's state
        self._watch.report(self.current_epoch)

    def on_train_end(self) -> None:
        if self.frames_outside:
            frames = some_of(sorted(self.frames_outside))
            get_logger(__name__).warning(
                "%s stage: batches without a visible head were skipped (frames %s); track the video again, or leave "
                "these frames out of the split",
                self.stage.name,
                frames,
            )

    @property
    def share(self) -> BatchShare:
        """The part of each batch in this process."""
        return BatchShare(self.trainer.global_rank, self.trainer.world_size)

    def render(self, batch: FrameBatch) -> tuple[Rendering, Tensor]:
        """Render a training batch with the random draws of this step; the mesh is rasterised once, here.

        Returns:
            The rendering, and another frame of the batch for each frame, [N] long.
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
        lengths = None if uses_cpu_kernels(self.device) else self._lengths
        with fixed_lengths(lengths):  # so that no step waits for the device
            rendering = render_batch(
                self.avatar, self.stage, batch, condition_noise=noise, choose_pixels=choose_pixels
            )
        return rendering, partner.to(self.device, non_blocking=True)

    def _by_name(self, optimizers: Iterable) -> dict:
        return dict(zip(self._names, optimizers, strict=True))

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        state: dict[str, Tensor] = checkpoint["state_dict"]
        checkpoint["state_dict"] = {key: value for key, value in state.items() if key.startswith("avatar.")}
        checkpoint[RUN_KEY] = self.run
        checkpoint[EPOCHS_KEY] = self.trainer.fit_loop.epoch_progress.current.processed
