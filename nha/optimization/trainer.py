"""Lightning trainer of one stage: devices, logging, checkpoints, callbacks."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import pytorch_lightning as lightning
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import TensorBoardLogger

from nha.avatar.base import HeadAvatar
from nha.core.paths import is_unicode
from nha.core.signals import StoppedError
from nha.core.system import get_logger
from nha.optimization.avatar_module import AvatarModule
from nha.optimization.callbacks import (
    HeldOutPoses,
    LoggedImages,
    OwnSignalHandlers,
    StageClock,
    StageProgress,
)
from nha.optimization.config import OptimizationSettings
from nha.optimization.datamodule import FrameDataModule
from nha.optimization.objective import Objective
from nha.optimization.resume import LOG_FOLDER
from nha.optimization.stages import Stage
from nha.optimization.training_state import TRAINING_FILE, StateFiles, TrainingState

_logger = get_logger(__name__)


def fit_stage(
    avatar: HeadAvatar,
    objective: Objective,
    stage: Stage,
    data: FrameDataModule,
    settings: OptimizationSettings,
    output: Path,
    device: torch.device,
    run: str,
    state: TrainingState | None,
) -> tuple[float, TrainingState]:
    """Run one stage.

    Args:
        avatar, objective, stage, data, settings, output, device: of the run.
        run: identifies the run in its training checkpoint.
        state: the checkpoint to continue from, None to start from the avatar as it is.

    Returns:
        Its seconds, and the checkpoint after it.

    Raises:
        UserError: a loss or the weights are not finite.
    """
    _quiet_lightning()
    data.stage = stage.index
    if settings.run.devices * settings.run.num_nodes == 1:
        data.device = device
    clock = StageClock()
    last, files = output / TRAINING_FILE, StateFiles()
    # DistributedDataParallel reads requires_grad before the stage sets it
    avatar.requires_grad_(True)
    trainer = lightning.Trainer(
        accelerator="cpu" if device.type == "cpu" else "gpu",
        devices=settings.run.devices,
        num_nodes=settings.run.num_nodes,
        strategy=_strategy(settings),
        plugins=[files],
        use_distributed_sampler=False,  # the data module distributes the frames, see `order_of_rank`
        max_epochs=stage.end_epoch,
        logger=_curves(output),
        callbacks=[
            StageProgress(),
            HeldOutPoses(data, settings.run.held_out_period),
            LoggedImages(data, settings.run.image_log_period),
            ModelCheckpoint(
                dirpath=output,
                filename=last.stem,
                every_n_epochs=settings.run.checkpoint_period,
                save_on_train_epoch_end=True,
                enable_version_counter=False,
            ),
            OwnSignalHandlers(),
            clock,
        ],
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        limit_val_batches=0,  # held-out frames are fitted and scored explicitly, see held_out.py
        log_every_n_steps=1,
    )
    module = AvatarModule(avatar, objective, stage, settings, run)
    try:
        trainer.fit(
            module, datamodule=data, ckpt_path=None if state is None else state.path, weights_only=True
        )
    except SystemExit as left:  # what Lightning turns a KeyboardInterrupt into
        stop = left.__context__
        if not isinstance(stop, KeyboardInterrupt):
            raise
        if isinstance(stop, StoppedError):
            stop.note = _what_is_kept(max(files.saved_epochs, 0 if state is None else state.finished_epochs))
        raise stop from None
    trainer.save_checkpoint(last)
    return round(clock.seconds, 2), TrainingState(last, stage.end_epoch)


def _what_is_kept(epochs: int) -> str:
    if not epochs:
        return "no state was saved yet (--checkpoint_period), so the same command starts again"
    return f"the state after epoch {epochs} is kept, and the same command continues from it"


def _curves(output: Path) -> TensorBoardLogger | bool:
    if is_unicode(output):
        return TensorBoardLogger(output / LOG_FOLDER, name="", version="")
    _logger.warning("no curves for TensorBoard: the name of the output folder is no UTF-8")
    return False


def _strategy(settings: OptimizationSettings) -> str:
    """Lightning's name of the strategy for several devices."""
    alone = settings.run.devices * settings.run.num_nodes == 1
    if settings.run.strategy != "auto" or alone:
        return settings.run.strategy
    return "ddp_find_unused_parameters_true"  # each stage leaves some parameters unused


def _quiet_lightning() -> None:
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*have no `validation_step`.*")
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
    warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty.*")
