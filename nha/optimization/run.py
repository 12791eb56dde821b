"""The main job: from an annotated, tracked video to an avatar."""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import os
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytorch_lightning as lightning
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only

from nha.avatar.avatar import NeuralHeadAvatar
from nha.avatar.checkpoint import load_avatar, read_checkpoint
from nha.avatar.open import build_head, save_avatar
from nha.core.device import pick_device, seed_everything
from nha.core.errors import UserError
from nha.core.paths import PART_WEIGHTS
from nha.core.system import atomic_path, get_logger, require_writable
from nha.core.types import FrameBatch
from nha.data.frame_dataset import FrameDataset
from nha.head.assets import HeadAssets
from nha.head.load import load_head
from nha.losses.perceptual import arcface_for, perceptual_loss
from nha.optimization.avatar_module import AvatarModule
from nha.optimization.callbacks import HeldOutPoses, Pictures, StageClock, StageProgress
from nha.optimization.conditions import measure_condition_ranges
from nha.optimization.config import OptimizationSettings
from nha.optimization.datamodule import FrameDataModule
from nha.optimization.objectives import Objective, PerceptualTerm
from nha.optimization.stages import Stage, make_stages

AVATAR_FILE = "avatar.ckpt"
TRAINING_FILE = "last.ckpt"
RUN_FILE = "run.json"


@dataclass(frozen=True)
class OptimizationResult:
    """output: the run's folder; avatar_path: the finished avatar; stage_seconds: time spent by stage."""

    output: Path
    avatar_path: Path
    stage_seconds: dict[str, float]


def optimize_avatar(settings: OptimizationSettings) -> OptimizationResult:
    """Fit an avatar to a dataset in three stages and write it to the output folder.

    A run that was interrupted continues from its last saved epoch. With several devices Lightning starts this
    script once more for each; the first process alone writes. Raises UserError for everything in the settings
    and the data that the user can mend.
    """
    log = get_logger(__name__)
    if rank_zero_only.rank:
        logging.getLogger("nha").setLevel(logging.WARNING)
    device = pick_device(settings.run.device)
    seed_everything(settings.run.seed)
    data = FrameDataModule(settings.data, seed=settings.run.seed)
    stages = make_stages(settings)
    perceptual = _perceptual_term(settings, stages)
    if settings.run.compile and device.type == "cpu" and not _has_compiler():
        raise UserError(
            "--compile needs a C++ compiler (g++, or the one that CXX names); install one or leave it out"
        )
    torch.set_float32_matmul_precision(settings.run.precision)
    if settings.run.pixels_per_image and perceptual is not None:
        raise UserError(
            "the perceptual term needs whole pictures: --pixels_per_image 0, or --perceptual none with it"
        )
    output = require_writable(settings.run.default_root_dir)  # a run that cannot start leaves no folder
    assets = load_head(settings.run.head)
    avatar = _new_avatar(settings, assets, data.max_frame_id)
    if settings.run.compile:
        avatar.texture_net.compile(dynamic=True)  # dynamic: each step has another number of pixels
    objective = Objective(avatar, settings.losses.body_part_weights or PART_WEIGHTS, perceptual)
    log.info(
        "%d training and %d held-out frames of %d x %d pixels on %s",
        len(data.train),
        len(data.val),
        *data.image_size[::-1],
        device,
    )

    if not settings.run.resume:
        _forget_run(output)
    seconds = _resume_point(settings, output, stages)
    _write_run(settings, output, seconds)
    for stage in stages:
        if stage.epochs and stage.name not in seconds:
            log.info("%s", stage.describe_terms())
            seconds[stage.name] = fit_stage(avatar, objective, stage, data, settings, output, device)
            _write_run(settings, output, seconds)
    path = output / AVATAR_FILE
    if not rank_zero_only.rank:
        load_training_state(avatar, output)
        measure_condition_ranges(avatar.to(device), _in_order(data.train))
        save_avatar(path, avatar.cpu(), assets, _hyper_parameters(settings, data))
    return OptimizationResult(output, path, seconds)


def fit_stage(
    avatar: NeuralHeadAvatar,
    objective: Objective,
    stage: Stage,
    data: FrameDataModule,
    settings: OptimizationSettings,
    output: Path,
    device: torch.device,
) -> float:
    """Run one stage, continuing from the output folder's training checkpoint. Returns its seconds."""
    _quiet_lightning()
    data.stage = stage.index
    clock = StageClock()
    last = output / TRAINING_FILE
    avatar.requires_grad_(
        True
    )  # what shares gradients between processes looks at this before the stage begins
    trainer = lightning.Trainer(
        accelerator="cpu" if device.type == "cpu" else "gpu",
        devices=settings.run.devices,
        num_nodes=settings.run.num_nodes,
        strategy=_strategy(settings),
        use_distributed_sampler=False,  # the data module deals the frames out, see `order_of_rank`
        max_epochs=stage.end_epoch,
        logger=TensorBoardLogger(output / "logs", name="", version=""),
        callbacks=[
            StageProgress(),
            HeldOutPoses(data, settings.run.held_out_period),
            Pictures(data, settings.run.image_log_period),
            ModelCheckpoint(
                dirpath=output,
                filename=last.stem,
                every_n_epochs=settings.run.checkpoint_period,
                save_on_train_epoch_end=True,
                enable_version_counter=False,
            ),
            clock,
        ],
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        limit_val_batches=0,  # held-out frames are fitted and scored explicitly, see held_out.py
        reload_dataloaders_every_n_epochs=1,  # the frames' order is a function of the epoch
        log_every_n_steps=1,
    )
    module = AvatarModule(avatar, objective, stage, settings)
    trainer.fit(module, datamodule=data, ckpt_path=last if last.is_file() else None, weights_only=True)
    if trainer.interrupted:
        raise KeyboardInterrupt
    trainer.save_checkpoint(last)
    return round(clock.seconds, 2)


def load_training_state(avatar: NeuralHeadAvatar, output: Path) -> None:
    """Put the training checkpoint's tensors into the avatar (they are there already unless stages were skipped)."""
    last = output / TRAINING_FILE
    if last.is_file():
        load_avatar(avatar, read_checkpoint(last))


def _strategy(settings: OptimizationSettings) -> str:
    """Lightning's name of how devices work together."""
    alone = settings.run.devices * settings.run.num_nodes == 1
    if settings.run.strategy != "auto" or alone:
        return settings.run.strategy
    return "ddp_find_unused_parameters_true"  # each stage leaves some parameters alone


def _in_order(frames: FrameDataset, size: int = 8) -> Iterator[FrameBatch]:
    for start in range(0, len(frames), size):
        yield frames.batch(range(start, min(start + size, len(frames))))


def _new_avatar(settings: OptimizationSettings, assets: HeadAssets, max_frame_id: int) -> NeuralHeadAvatar:
    avatar = NeuralHeadAvatar(build_head(assets, settings.avatar), settings.avatar, max_frame_id)
    if settings.run.checkpoint_file is not None:
        load_avatar(avatar, read_checkpoint(settings.run.checkpoint_file))
    return avatar


def _has_compiler() -> bool:
    return shutil.which(os.environ.get("CXX", "g++")) is not None


def _perceptual_term(settings: OptimizationSettings, stages: tuple[Stage, ...]) -> PerceptualTerm | None:
    """None where no stage that is run has the term; UserError where one has and the network is missing."""
    weights = [stage.weights_at(stage.first_epoch).get("perc", 0) for stage in stages if stage.epochs]
    feature_net = arcface_for(settings.losses.arcface_weights, weights)
    return None if feature_net is None else functools.partial(perceptual_loss, feature_net)


def _resume_point(
    settings: OptimizationSettings, output: Path, stages: tuple[Stage, ...]
) -> dict[str, float]:
    """Seconds of the stages that the output folder's run has finished.

    Raises UserError where that run had other settings.
    """
    last, run = output / TRAINING_FILE, output / RUN_FILE
    if not (run.is_file() and last.is_file()):
        return {}
    known = json.loads(run.read_text())
    if known["fingerprint"] != _fingerprint(settings):
        raise UserError(
            f"'{output}' holds a run with other settings; choose another --default_root_dir, or start it again "
            "with --resume false"
        )
    finished = {
        stage.name: known["stage_seconds"][stage.name]
        for stage in stages
        if stage.name in known["stage_seconds"]
    }
    if any(stage.epochs and stage.name not in finished for stage in stages):
        get_logger(__name__).info("continuing the interrupted run in %s", output)
    return finished


@rank_zero_only
def _forget_run(output: Path) -> None:
    (output / TRAINING_FILE).unlink(missing_ok=True)
    (output / RUN_FILE).unlink(missing_ok=True)


@rank_zero_only
def _write_run(settings: OptimizationSettings, output: Path, seconds: dict[str, float]) -> None:
    content = {"stage_seconds": seconds, "fingerprint": _fingerprint(settings)}
    with atomic_path(output / RUN_FILE) as temporary:
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")


def _fingerprint(settings: OptimizationSettings) -> str:
    """Everything that decides the result, as text."""
    parts = (settings.data, settings.schedule, settings.losses, settings.avatar)
    names = ("seed", "head", "precision", "compile", "pixels_per_image", "devices", "num_nodes")
    return repr(parts) + "".join(f" {name} {getattr(settings.run, name)}" for name in names)


def _hyper_parameters(settings: OptimizationSettings, data: FrameDataModule) -> dict:
    flat = {"max_frame_id": data.max_frame_id, "head": settings.run.head}
    for part in (settings.data, settings.schedule, settings.losses):
        flat |= {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}
    return flat


def _quiet_lightning() -> None:
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*have no `validation_step`.*")
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
    warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty.*")
