"""Lightning callbacks of a stage: progress, held-out frames, logged images, timing."""

from __future__ import annotations

import time

import pytorch_lightning as lightning
import torch

from nha.avatar.image_renderer import render_images
from nha.core.progress import ProgressLine
from nha.core.signals import reinstall
from nha.core.types import FrameBatch
from nha.losses.masks import whiten_background
from nha.optimization.avatar_module import AvatarModule
from nha.optimization.datamodule import FrameDataModule
from nha.optimization.held_out import HeldOutFit


class StageProgress(lightning.Callback):
    """The progress of the stage, in steps."""

    def __init__(self) -> None:
        self.line: ProgressLine | None = None

    def on_train_start(self, trainer: lightning.Trainer, module: AvatarModule) -> None:
        left = module.stage.end_epoch - trainer.current_epoch
        total = left * trainer.num_training_batches
        self.line = ProgressLine(f"training {module.stage.name}", total, shown=trainer.is_global_zero)

    def on_train_batch_end(self, trainer, module: AvatarModule, outputs, batch, batch_idx) -> None:
        note = ""
        if batch_idx == 0 and module.last_values is not None:
            last = module.last_values
            losses = dict(zip(last.names, last.values.tolist(), strict=True))
            shown = [f"{name} {losses[name]:.3f}" for name in ("rgb", "silh", "lmk") if name in losses]
            note = ", ".join([f"epoch {trainer.current_epoch}", *shown])
        self.line.update(note=note)

    def on_train_end(self, trainer, module) -> None:
        self.line.close()

    def on_exception(self, trainer, module, exception) -> None:
        if self.line is not None:
            self.line.close()


class HeldOutPoses(lightning.Callback):
    """Fits the poses of the held-out frames and logs their losses, every `period` epochs."""

    def __init__(self, data: FrameDataModule, period: int) -> None:
        self.data = data
        self.period = period
        self._fit: HeldOutFit | None = None

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: AvatarModule) -> None:
        epoch = trainer.current_epoch
        if not len(self.data.val) or (epoch + 1) % self.period or not module.stage.held_out:
            return
        if self._fit is None:
            self._fit = HeldOutFit(module.avatar, module.objective, module.stage, capture=module.captures)
        values = self._fit(self.data.val_dataloader(), epoch)
        if values is not None:
            named = zip(values.names, values.values.clone().unbind(), strict=True)
            module.log_dict({f"held_out/{name}": v for name, v in named if name != "total"}, batch_size=1)

    def on_train_end(self, trainer: lightning.Trainer, module: AvatarModule) -> None:
        self._fit = None


class LoggedImages(lightning.Callback):
    """Logs ground truth, prediction and normals to TensorBoard, every `period` epochs and at the end of a stage."""

    def __init__(self, data: FrameDataModule, period: int) -> None:
        self.data = data
        self.period = period

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: AvatarModule) -> None:
        epoch = trainer.current_epoch
        if not trainer.is_global_zero:
            return
        if (epoch + 1) % self.period and epoch + 1 != module.stage.end_epoch:
            return
        for name, frames in (("train", self.data.train), ("held_out", self.data.val)):
            if len(frames) and trainer.logger is not None:
                image = comparison(module, frames.batch([len(frames) // 2]).to(module.device))
                trainer.logger.experiment.add_image(name, image, epoch + 1)


@torch.no_grad()
def comparison(module: AvatarModule, batch: FrameBatch) -> torch.Tensor:
    """Ground truth on white | prediction | normals of one frame: [3, H, 3 W] in 0..1."""
    was_training = module.avatar.training
    module.avatar.eval()
    rendering = render_images(module.avatar, batch.tracked, batch.camera, frame_ids=batch.frame_id)
    module.avatar.train(was_training)
    normals = rendering.gbuffer["normals"] * 0.5 + 0.5
    truth = whiten_background(batch.rgb01, batch.segmentation)
    return torch.cat([truth[0], rendering.rgb01[0], normals[0]], 2).clamp(0, 1).cpu()


class OwnSignalHandlers(lightning.Callback):
    """Sets the program's signal handlers again: Lightning's only take note of SIGTERM, and end with exit code 0."""

    def on_train_start(self, trainer: lightning.Trainer, module: AvatarModule) -> None:
        reinstall()


class StageClock(lightning.Callback):
    """Measures the seconds that this process spends in the stage."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def on_train_start(self, trainer, module) -> None:
        self._start = time.perf_counter()

    def on_train_end(self, trainer, module) -> None:
        self.seconds = time.perf_counter() - self._start
