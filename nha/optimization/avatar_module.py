"""One stage of the optimisation as a Lightning module: render a batch, evaluate the losses, step the optimisers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytorch_lightning as lightning
import torch
from torch import Tensor

from nha.avatar.base import HeadAvatar
from nha.core.device import uses_cpu_kernels
from nha.core.pixel_lists import ListLengths, fixed_lengths
from nha.core.processes import WHOLE_BATCH, BatchShare
from nha.core.system import get_logger
from nha.core.types import FrameBatch, Rendering
from nha.data.messages import some_of
from nha.optimization.config import OptimizationSettings
from nha.optimization.loss_means import LossMeans
from nha.optimization.loss_watch import LossWatch
from nha.optimization.objective import Objective
from nha.optimization.optimizers import begin_stage, make_optimizers, set_rates
from nha.optimization.stages import TEXTURE, Stage
from nha.optimization.training_state import EPOCHS_KEY, RUN_KEY
from nha.optimization.training_step import StepValues, TrainingStep, draw_step, render_step


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
        self.last_values: StepValues | None = None
        self.whole_step: TrainingStep | None = None
        self.frames_outside: set[int] = set()  # frames of batches that were skipped
        self._watch = LossWatch()
        self._means = LossMeans()
        self._names: tuple[str, ...] = ()
        self._lengths = ListLengths()

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        optimizers = make_optimizers(self.avatar)
        self._names = tuple(optimizers)
        return list(optimizers.values())

    def on_train_start(self) -> None:
        # called after a checkpoint is restored, so that the rates are the stage's and not those of the saved state
        active = begin_stage(self.avatar, self._by_name(self.trainer.optimizers), self.stage)
        if self.captures:
            self.whole_step = TrainingStep(self.avatar, self.objective, self.stage, self.settings, active)

    @property
    def captures(self) -> bool:
        """Whether whole steps are CUDA graphs."""
        run = self.settings.run
        if not run.cuda_graphs or run.compile or self.device.type != "cuda" or self.share != WHOLE_BATCH:
            return False
        # states that were saved on a CPU have optimisers that no graph can hold
        groups = [group for optimizer in self.trainer.optimizers for group in optimizer.param_groups]
        return all(group.get("fused", True) and group.get("capturable", True) for group in groups)

    def on_train_epoch_start(self) -> None:
        set_rates(self._by_name(self.trainer.optimizers), self.stage, self.current_epoch)

    def training_step(self, batch: FrameBatch, _: int) -> None:
        weights = self.stage.weights_at(self.current_epoch)
        if self.whole_step is not None and any(weights.values()):
            values = self._graph_step(batch, weights)
        else:
            values = self._eager_step(batch, weights)
        if values is not None:
            self.last_values = values
            self._means.add(values, len(batch))

    def _graph_step(self, batch: FrameBatch, weights: Mapping[str, float]) -> StepValues:
        draws = draw_step(self.settings, self.stage, batch, self.global_step)
        values = self.whole_step(batch, draws, weights)
        self._watch.observe(values, self.current_epoch)
        optimizers = self._by_name(self.optimizers())
        for name in self.stage.optimizers:  # Lightning counts their steps, `global_step` is the sum
            optimizers[name]._on_before_step()
            optimizers[name]._on_after_step()
        return values

    def _eager_step(self, batch: FrameBatch, weights: Mapping[str, float]) -> StepValues | None:
        """A step with Lightning's calls; None for a batch from which nothing can be learned."""
        rendering, partner = self.render(batch)
        losses = self.objective(self.stage.terms, self.avatar, rendering, batch, partner)
        # DDP averages the gradients over processes, which would divide sums over the frames of the batch
        summed = [term.name for term in self.stage.terms if term.sums_over_frames]
        losses = losses.times(self.share.n_processes, summed)
        total = losses.weighted_sum(weights)
        if self.share.n_processes == 1 and self._teaches_nothing(total, rendering):
            self.frames_outside.update(batch.frame_id.tolist())
            return None
        values = StepValues.of(losses, weights, total)
        self._watch.observe(values, self.current_epoch)
        optimizers = self._by_name(self.optimizers())
        for optimizer in optimizers.values():
            optimizer.zero_grad()
        self.manual_backward(total)
        for name in self.stage.optimizers:
            optimizers[name].step()
        return values

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
        means = {f"train/{name}": value for name, value in self._means.read().items()}
        self.log_dict(means, sync_dist=self.share.n_processes > 1)

    def on_train_end(self) -> None:
        self.whole_step = None
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
        draws = draw_step(self.settings, self.stage, batch, self.global_step, self.share)
        lengths = None if uses_cpu_kernels(self.device) else self._lengths
        with fixed_lengths(lengths):  # so that no step waits for the device
            rendering = render_step(self.avatar, self.stage, self.settings, batch, draws)
        return rendering, draws.partner

    def _by_name(self, optimizers: Iterable) -> dict:
        return dict(zip(self._names, optimizers, strict=True))

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        state: dict[str, Tensor] = checkpoint["state_dict"]
        checkpoint["state_dict"] = {key: value for key, value in state.items() if key.startswith("avatar.")}
        checkpoint[RUN_KEY] = self.run
        checkpoint[EPOCHS_KEY] = self.trainer.fit_loop.epoch_progress.current.processed
