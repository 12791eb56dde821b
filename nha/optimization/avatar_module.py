"""Lightning's view of one stage: draw, compare, step. What happens in these words is defined elsewhere."""

from __future__ import annotations

import pytorch_lightning as lightning
import torch
from torch import Tensor

from nha.avatar.avatar import NeuralHeadAvatar
from nha.core.processes import BatchShare
from nha.core.types import FrameBatch
from nha.losses.table import LossTable
from nha.optimization.config import OptimizationSettings
from nha.optimization.noise import parameter_noise, random_partners, random_scores, step_generator
from nha.optimization.objectives import Drawn, Objective, draw_batch
from nha.optimization.optimizers import begin_stage, make_optimizers
from nha.optimization.stages import Stage

# Sums over the batch's frames, where the other terms are means: averaging gradients over processes would
# divide them.
SUMMED_OVER_FRAMES = ("expr_reg", "pose_reg")


class AvatarModule(lightning.LightningModule):
    """An avatar in one stage of its optimisation; the optimisers live through all stages."""

    def __init__(
        self, avatar: NeuralHeadAvatar, objective: Objective, stage: Stage, settings: OptimizationSettings
    ) -> None:
        super().__init__()
        # several optimisers, of which a stage steps some: Lightning's automatic loop knows only one
        self.automatic_optimization = False
        self.strict_loading = False  # the objective (a loss network, at most) is not part of checkpoints
        self.avatar = avatar
        self.objective = objective
        self.stage = stage
        self.settings = settings
        self.last_losses: LossTable | None = None

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        return make_optimizers(self.avatar)

    def on_train_start(self) -> None:
        # after a checkpoint has been restored: rates belong to the stage, not to the optimisers' past
        begin_stage(self.avatar, self.trainer.optimizers, self.stage)

    def training_step(self, batch: FrameBatch, _: int) -> None:
        drawn = self.draw(batch)
        losses = self.objective(self.stage.losses, self.avatar, drawn, batch)
        losses = losses.times(self.share.n_processes, SUMMED_OVER_FRAMES)
        total = losses.weighted_sum(self.stage.weights_at(self.current_epoch))
        optimizers = self.optimizers()
        for optimizer in optimizers:
            optimizer.zero_grad()
        self.manual_backward(total)
        active = (bool(self.stage.moved), self.stage.offsets, self.stage.texture)
        for optimizer, steps in zip(optimizers, active, strict=True):
            if steps:
                optimizer.step()
        self.last_losses = losses
        logged = {**losses.for_log("train"), "train/total": total.detach()}
        spread = self.share.n_processes > 1
        self.log_dict(logged, batch_size=len(batch), on_step=False, on_epoch=True, sync_dist=spread)

    @property
    def share(self) -> BatchShare:
        """Which part of each batch this process has."""
        return BatchShare(self.trainer.global_rank, self.trainer.world_size)

    def draw(self, batch: FrameBatch) -> Drawn:
        """Draw a training batch, with this step's noise. The mesh is rasterised here, once."""
        generator = step_generator(self.settings.run.seed, self.global_step)
        schedule = self.settings.schedule
        noise = None
        if self.stage.paints and schedule.flame_noise > 0:
            deviations = (schedule.flame_noise, schedule.glob_rot_noise)
            noise = parameter_noise(batch.tracked, *deviations, generator, self.share)
        n = len(batch)
        pixels = self.settings.run.pixels_per_image if self.stage.paints else 0
        partner = random_partners(self.share.total(n), generator)[self.share.own(n)]
        return draw_batch(
            self.avatar,
            batch.tracked,
            batch.frame_id,
            batch.camera,
            paints=self.stage.paints,
            noise=noise,
            partner=partner.to(self.device),
            pixel_scores=random_scores(n, batch.camera.image_size, generator, self.share) if pixels else None,
            pixels_per_image=pixels,
            backend=self.settings.run.raster_backend,
        )

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        state: dict[str, Tensor] = checkpoint["state_dict"]
        checkpoint["state_dict"] = {key: value for key, value in state.items() if key.startswith("avatar.")}
