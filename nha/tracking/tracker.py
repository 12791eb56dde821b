"""The tracker's entry: from a dataset folder to `tracked_flame_params.npz`. `docs/method.md`, section 7."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from nha.core.device import pick_device
from nha.core.errors import UserError
from nha.core.system import get_logger
from nha.core.types import Camera, HeadParams
from nha.data.tracking_file import TrackingResult, read_tracking
from nha.head.assets import HeadAssets
from nha.head.load import load_head
from nha.tracking.appearance import AlbedoSpace, grey_albedo_space, read_albedo_space
from nha.tracking.batched import track_in_batches
from nha.tracking.frames import read_frames
from nha.tracking.photometric import tracker_mesh
from nha.tracking.photometric_fit import PhotometricFit
from nha.tracking.progress import RunFolder
from nha.tracking.report import write_report
from nha.tracking.sequential import track_sequentially
from nha.tracking.settings import TrackingSettings
from nha.tracking.tensorboard_log import open_tensorboard_log

_logger = get_logger(__name__)


@dataclass(frozen=True)
class TrackedVideo:
    """What a tracking run wrote. It can be passed wherever a path to a tracking file is expected.

    Attributes:
        path: the tracking file.
        report_path: errors of every frame and a summary, JSON.
        video_path: `tracking.mp4`, written where the settings ask for it.
    """

    path: Path
    report_path: Path
    video_path: Path

    def __fspath__(self) -> str:
        return os.fspath(self.path)

    @cached_property
    def result(self) -> TrackingResult:
        """Head parameters, light and camera of all frames."""
        return read_tracking(self.path)

    @cached_property
    def report(self) -> dict[str, Any]:
        """The content of the report."""
        return json.loads(self.report_path.read_text(encoding="utf-8"))

    @property
    def frame_ids(self) -> list[int]:
        """Ids of the tracked frames."""
        return [int(frame_id) for frame_id in self.result.frame]

    def params(self, frame_ids: int | Iterable[int]) -> HeadParams:
        """The tracked parameters of one frame or of N frames, each field [1 or N, ...].

        Raises:
            UserError: a frame was not tracked.
        """
        return self.result.params_for(_as_list(frame_ids))

    def camera(self, frame_ids: int | Iterable[int], image_size: tuple[int, int] | None = None) -> Camera:
        """The camera of one frame or of N frames.

        Args:
            frame_ids: one id or several.
            image_size: (height, width) of the images to render; None: that of the tracked ones.
        """
        return self.result.camera_for(_as_list(frame_ids), image_size or self.result.image_size)


def track_dataset(settings: TrackingSettings) -> TrackedVideo:
    """Track the head in every frame of a dataset folder.

    Writes `tracked_flame_params.npz` (repeatedly while it runs), `tracking_report.json`, `tracking.mp4` and
    TensorBoard's `logs` into `settings.output_path`. A run that was stopped continues where it was last saved; a run
    that is complete is not repeated.

    Args:
        settings: dataset folder, output folder and everything that can be chosen.

    Returns:
        The files that were written, with access to the tracked parameters.

    Raises:
        UserError: the dataset cannot be tracked, settings contradict each other, or the output folder cannot be
            written.
    """
    _check(settings)
    frames = read_frames(settings.data_path, settings.downscale_factor)
    run = RunFolder(settings, frames)
    device = pick_device(settings.device)
    assets = load_head(settings.head)
    mesh = tracker_mesh(assets, ignore_lower_neck=settings.ignore_lower_neck).to(device)
    albedo = _albedo_space(assets, settings).to(device)

    progress = run.load()
    if progress is not None:
        _logger.info(
            "%d of %d frames are tracked (%s); continuing", progress.n_processed, len(frames), run.result
        )
    if progress is None or progress.n_processed < len(frames) or not run.report.is_file():
        with open_tensorboard_log(run.folder) as log:
            fit = PhotometricFit(mesh, albedo, settings.n_shape, settings.n_expr, log.energies)
            track = track_sequentially if settings.mode == "sequential" else track_in_batches
            progress, albedo = track(fit, run, progress)
            write_report(mesh, albedo, run, progress, log)
    return TrackedVideo(run.result, run.report, run.video)


def _check(settings: TrackingSettings) -> None:
    if settings.calibrated and settings.focal is None:
        raise UserError("calibrated = true needs the focal length; pass --focal F (in longer sides)")
    if settings.focal is not None and not settings.focal > 0:
        raise UserError(f"focal must be positive, not {settings.focal}")
    if settings.downscale_factor < 1:
        raise UserError(f"downscale_factor must be at least 1, not {settings.downscale_factor}")
    if min(settings.sequential.sampling_scale, settings.batched.refine_sampling_scale) <= 0:
        raise UserError("sampling_scale must be positive")


def _albedo_space(assets: HeadAssets, settings: TrackingSettings) -> AlbedoSpace:
    if assets.texture_file is None:
        _logger.info("head model %s has no albedo space; tracking starts from a grey albedo", assets.name)
        return grey_albedo_space()
    return read_albedo_space(assets.texture_file, settings.n_tex, settings.tex_res)


def _as_list(frame_ids: int | Iterable[int]) -> list[int]:
    return list(frame_ids) if isinstance(frame_ids, Iterable) else [int(frame_ids)]
