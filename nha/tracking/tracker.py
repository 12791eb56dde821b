"""The tracker: from a dataset folder to `tracked_flame_params.npz`."""

from __future__ import annotations

from pathlib import Path

import torch

from nha.core.device import pick_device
from nha.core.errors import UserError
from nha.core.system import get_logger
from nha.head.assets import HeadAssets
from nha.head.load import load_head
from nha.tracking.appearance import AlbedoSpace, grey_albedo_space, read_albedo_space
from nha.tracking.batched import track_in_batches
from nha.tracking.fit import StageFitter
from nha.tracking.frames import read_frames
from nha.tracking.logbook import open_logbook
from nha.tracking.mesh import TrackerMesh, tracker_mesh
from nha.tracking.progress import RunFolder
from nha.tracking.report import write_report
from nha.tracking.sequential import track_sequentially
from nha.tracking.settings import TrackingSettings

_logger = get_logger(__name__)

_PROCEDURES = {"batched": track_in_batches, "sequential": track_sequentially}


def track_dataset(settings: TrackingSettings) -> Path:
    """Track every frame of a dataset folder and return the path of the tracking file.

    Writes `tracked_flame_params.npz` (again and again while it runs), `tracking_report.json`, `tracking.mp4`
    and TensorBoard's `logs` into `settings.output_path`. A run that was stopped goes on where it was last saved.
    Raises UserError for a dataset that cannot be tracked, settings that contradict each other, or an output
    folder that cannot be written. Method, section 7.
    """
    _check(settings)
    frames = read_frames(settings.data_path, settings.downscale_factor)
    run = RunFolder(settings, frames)
    device = pick_device(settings.device)
    assets = load_head(settings.head)
    mesh = _on_device(tracker_mesh(assets, ignore_lower_neck=settings.ignore_lower_neck), device)
    albedo = _albedo_space(assets, settings).to(device)

    earlier = run.load()
    if earlier is not None:
        _logger.info("going on after %d of %d frames (%s)", earlier.n_processed, len(frames), run.result)
    finished = earlier is not None and earlier.n_processed >= len(frames) and run.report.is_file()
    if not finished:
        with open_logbook(run.folder) as logbook:
            fitter = StageFitter(mesh, albedo, settings.n_shape, settings.n_expr, logbook.energies)
            progress = _PROCEDURES[settings.mode](fitter, run, earlier)
            person = run.load_person() if settings.mode == "batched" else None
            write_report(mesh, person.albedo.to(device) if person else albedo, run, progress, logbook)
    return run.result


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
        _logger.info("head model %s brings no albedo space: tracking with a grey one", assets.name)
        return grey_albedo_space()
    return read_albedo_space(assets.texture_file, settings.n_tex, settings.tex_res)


def _on_device(mesh: TrackerMesh, device: torch.device) -> TrackerMesh:
    return TrackerMesh(mesh.head.to(device), mesh.faces.to(device), mesh.face_uv.to(device))
