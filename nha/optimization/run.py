"""The optimisation: from an annotated, tracked video to an avatar, in three stages. `docs/method.md`, section 5."""

from __future__ import annotations

import dataclasses
import functools
import logging
import math
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from pytorch_lightning.utilities import rank_zero_only
from torch import nn

from nha.avatar.base import HeadAvatar
from nha.avatar.blend_avatar import BlendAvatar
from nha.avatar.checkpoint import load_state, read_checkpoint
from nha.avatar.matching import tracking_for_head
from nha.avatar.open import build_avatar, save_avatar
from nha.avatar.training_record import training_record
from nha.core.device import pick_device, seed_everything, set_precision
from nha.core.errors import UserError
from nha.core.output_folder import own_folder, require_own
from nha.core.paths import PART_WEIGHTS
from nha.core.system import get_logger, require_writable
from nha.core.types import FrameBatch
from nha.data.annotation_faults import report_annotation_faults
from nha.data.frame_dataset import FrameDataset
from nha.head.assets import HeadAssets
from nha.head.load import load_head
from nha.losses.inputs import PerceptualDistance
from nha.losses.perceptual import arcface_for, perceptual_loss
from nha.losses.terms import Term
from nha.nets.fused_siren import set_fused_networks
from nha.optimization.conditions import measure_condition_ranges, measure_drive
from nha.optimization.config import OptimizationSettings
from nha.optimization.datamodule import FrameDataModule
from nha.optimization.final_fit import fit_frames
from nha.optimization.objective import Objective
from nha.optimization.perceptual_choice import with_perceptual_network
from nha.optimization.resume import (
    AVATAR_FILE,
    LOG_FOLDER,
    FinishedPart,
    files_of_earlier_versions,
    finished_part,
    forget_run,
    identify,
    write_run_state,
)
from nha.optimization.stages import Stage, make_stages
from nha.optimization.trainer import fit_stage
from nha.optimization.unseen import continue_unseen
from nha.render.rasterize import raster_backend

_SMALLEST_TEXTURE = 64  # texels


@dataclass(frozen=True)
class OptimizationResult:
    """The result of a run.

    Attributes:
        output: the folder of the run.
        avatar_path: checkpoint of the finished avatar.
        stage_seconds: seconds by name of the stage.
    """

    output: Path
    avatar_path: Path
    stage_seconds: dict[str, float]


def optimize_avatar(
    settings: OptimizationSettings,
    *,
    extra_terms: Iterable[Term] = (),
    texture_net: nn.Module | None = None,
    offset_net: nn.Module | None = None,
) -> OptimizationResult:
    """Fit an avatar to a dataset in three stages and write it to the output folder.

    A run that was interrupted continues from its last saved epoch. With several devices Lightning starts the script
    once more for each of them; only the first process writes.

    Args:
        settings: dataset, schedule, losses, networks and machine.
        extra_terms: further loss terms with a weight of their own (see `nha.losses.terms.Term`).
        texture_net: a network with the interface of `TextureNet.forward` in place of the published one.
        offset_net: a network with the interface of `OffsetNet.forward` in place of the published one.

    Raises:
        UserError: a setting or a file cannot be used; the message says what to change.
    """
    extra_terms = tuple(extra_terms)
    settings.check()
    _quiet_other_processes()
    settings = with_perceptual_network(settings)
    device = pick_device(settings.run.device)
    seed_everything(settings.run.seed)
    assets = load_head(settings.run.head)
    data = FrameDataModule(
        settings.data,
        seed=settings.run.seed,
        prepare=lambda tracking: tracking_for_head(tracking, assets, settings.data.tracking_results_path),
    )
    settings = _settings_for_data(settings, data)
    stages = make_stages(settings, extra_terms)
    perceptual = _perceptual_distance(settings, stages)
    _check_machine(settings, device, perceptual)
    set_precision(settings.run.precision)
    set_fused_networks(settings.run.fused_networks)
    # created after all checks, so that a run with wrong settings leaves no folder
    output = settings.run.default_root_dir
    if rank_zero_only.rank:
        held = nullcontext(require_writable(output))
    else:
        require_own(output, files_of_earlier_versions)
        held = own_folder(output, of_earlier_version=files_of_earlier_versions, logs=LOG_FOLDER)
    with held:
        return _optimize(
            settings, data, stages, perceptual, assets, device, extra_terms, texture_net, offset_net
        )


def _optimize(
    settings: OptimizationSettings,
    data: FrameDataModule,
    stages: tuple[Stage, ...],
    perceptual: PerceptualDistance | None,
    assets: HeadAssets,
    device: torch.device,
    extra_terms: tuple[Term, ...],
    texture_net: nn.Module | None,
    offset_net: nn.Module | None,
) -> OptimizationResult:
    """Build the avatar, run the stages that the output folder does not hold yet, and save the avatar."""
    output = settings.run.default_root_dir
    avatar = build_avatar(assets, settings.avatar, data.max_frame_id, texture_net, offset_net)
    if settings.run.checkpoint_file is not None:
        load_state(avatar, read_checkpoint(settings.run.checkpoint_file))
    elif isinstance(avatar, BlendAvatar):
        tracking, frame_ids = data.splits.tracking, data.train.frame_ids
        camera = tracking.camera_for(frame_ids, data.image_size)
        measure_drive(avatar, tracking.params_for(frame_ids), camera)
    if settings.run.compile:
        avatar.texture_net.compile(dynamic=True)  # dynamic: each step has another number of pixels
    objective = Objective(avatar, settings.losses.body_part_weights or PART_WEIGHTS, perceptual)
    _log_start(data, device)
    if not rank_zero_only.rank:
        splits = data.splits
        report_annotation_faults(splits.folder, splits.train.store, splits.split.frame_ids())

    identity = identify(settings, avatar, data.splits, assets, extra_terms)
    if not settings.run.resume:
        forget_run(output)
    done = finished_part(identity, output, stages) if settings.run.resume else FinishedPart()
    seconds, state = dict(done.stage_seconds), done.state
    write_run_state(identity, output, seconds)
    with raster_backend(settings.run.raster_backend):
        for stage in stages:
            if stage.epochs and stage.name not in seconds:
                get_logger(__name__).info("%s", stage.describe_terms())
                seconds[stage.name], state = fit_stage(
                    avatar, objective, stage, data, settings, output, device, identity.digest, state
                )
                write_run_state(identity, output, seconds)
        path = output / AVATAR_FILE
        if not rank_zero_only.rank:
            if state is not None:  # stages that were skipped have not changed the avatar
                load_state(avatar, read_checkpoint(state.path))
            _finish(avatar.to(device), objective.to(device), stages, data, settings)
            record = training_record(data.splits, output)
            save_avatar(path, avatar.cpu(), assets, _hyper_parameters(settings, data), record)
    return OptimizationResult(output, path, seconds)


def _settings_for_data(settings: OptimizationSettings, data: FrameDataModule) -> OptimizationSettings:
    """The settings with epochs for the number of frames, and a texture for the size of the images."""
    schedule, avatar = settings.schedule.for_frames(len(data.train)), settings.avatar
    if avatar.model == "blend" and not avatar.blend_texture_size:
        side = 2 ** math.ceil(math.log2(max(*data.image_size, _SMALLEST_TEXTURE)))
        avatar = dataclasses.replace(avatar, blend_texture_size=side)
    return dataclasses.replace(settings, schedule=schedule, avatar=avatar)


def _finish(
    avatar: HeadAvatar,
    objective: Objective,
    stages: tuple[Stage, ...],
    data: FrameDataModule,
    settings: OptimizationSettings,
) -> None:
    """What follows the stages: ranges of the conditions; for the blend model unseen surface and held-out frames."""
    if not isinstance(avatar, BlendAvatar):
        measure_condition_ranges(avatar, _in_order(data.train))
        return
    if avatar.settings.blend_continue_unseen:
        continue_unseen(avatar, _in_order(data.train, 4))
    last = [stage for stage in stages if stage.epochs][-1:]
    for stage in last:
        steps, capture = settings.schedule.held_out_steps, settings.run.cuda_graphs
        fit_frames(avatar, objective, stage, _in_order(data.val, 4), steps, capture=capture)


def _quiet_other_processes() -> None:
    if rank_zero_only.rank:
        logging.getLogger("nha").setLevel(logging.WARNING)


def _check_machine(
    settings: OptimizationSettings, device: torch.device, perceptual: PerceptualDistance | None
) -> None:
    """Raise UserError where the settings do not fit the machine or each other."""
    if settings.avatar.model == "blend" and (settings.run.pixels_per_image or settings.run.compile):
        raise UserError(
            "--pixels_per_image and --compile are for the published model; leave them out with --model blend"
        )
    if settings.run.compile and device.type == "cpu" and shutil.which(os.environ.get("CXX", "g++")) is None:
        raise UserError(
            "--compile needs a C++ compiler (g++, or the one that CXX names); install one or leave it out"
        )
    if settings.run.pixels_per_image and perceptual is not None:
        raise UserError(
            "the perceptual term needs whole images: --pixels_per_image 0, or --perceptual none with it"
        )


def _perceptual_distance(
    settings: OptimizationSettings, stages: tuple[Stage, ...]
) -> PerceptualDistance | None:
    """The perceptual distance; None where no stage with epochs has the term. Raises UserError for missing weights."""
    weights = [stage.weights_at(stage.first_epoch).get("perc", 0) for stage in stages if stage.epochs]
    feature_net = arcface_for(settings.losses.arcface_weights, weights)
    return None if feature_net is None else functools.partial(perceptual_loss, feature_net)


def _log_start(data: FrameDataModule, device: torch.device) -> None:
    get_logger(__name__).info(
        "%d training and %d held-out frames of %d x %d pixels on %s",
        len(data.train),
        len(data.val),
        *data.image_size[::-1],
        device,
    )


def _in_order(frames: FrameDataset, size: int = 8) -> Iterator[FrameBatch]:
    for start in range(0, len(frames), size):
        yield frames.batch(range(start, min(start + size, len(frames))))


def _hyper_parameters(settings: OptimizationSettings, data: FrameDataModule) -> dict:
    flat = {"max_frame_id": data.max_frame_id, "head": settings.run.head}
    for part in (settings.data, settings.schedule, settings.losses):
        flat |= {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}
    return flat
