"""The tracker's entry: from a dataset folder to `tracked_flame_params.npz`. `docs/method.md`, section 7."""

from __future__ import annotations

from nha.core.device import pick_device
from nha.core.output_folder import own_folder
from nha.core.system import get_logger
from nha.data.tracked_video import Tracking
from nha.head.assets import HeadAssets
from nha.head.load import load_head
from nha.render.rasterize import raster_backend
from nha.tracking.appearance import AlbedoSpace, grey_albedo_space, read_albedo_space
from nha.tracking.batched import track_in_batches
from nha.tracking.frames import TrackingFrames, read_frames
from nha.tracking.output_files import files_of_earlier_versions
from nha.tracking.photometric import tracker_mesh
from nha.tracking.photometric_fit import PhotometricFit
from nha.tracking.progress import RunFolder
from nha.tracking.report import write_report
from nha.tracking.sequential import track_sequentially
from nha.tracking.settings import TrackingSettings
from nha.tracking.tensorboard_log import LOG_FOLDER, open_tensorboard_log

_logger = get_logger(__name__)


def track_dataset(settings: TrackingSettings) -> Tracking:
    """Track the head in every frame of a dataset folder.

    Writes `tracked_flame_params.npz` (repeatedly while it runs), `tracking_report.json`, `tracking.mp4` and
    TensorBoard's `logs` into `settings.output_path`. A run that was stopped continues where it was last saved; a run
    that is complete is not repeated.

    Args:
        settings: dataset folder, output folder and everything that can be chosen.

    Returns:
        The tracking: parameters and camera of every frame. It can be passed wherever the path of a tracking file is
        expected.

    Raises:
        UserError: the dataset cannot be tracked, a setting is out of its range, or the output folder cannot be
            written.
    """
    settings.check()
    frames = read_frames(settings.data_path, settings.downscale_factor)
    run = RunFolder(settings, frames)
    with own_folder(run.folder, of_earlier_version=files_of_earlier_versions, logs=LOG_FOLDER):
        return _track(settings, frames, run)


def _track(settings: TrackingSettings, frames: TrackingFrames, run: RunFolder) -> Tracking:
    """Track the frames that the run's folder does not hold yet."""
    device = pick_device(settings.device)
    assets = load_head(settings.head)
    run.set_head(assets.identity)
    mesh = tracker_mesh(assets, ignore_lower_neck=settings.ignore_lower_neck).to(device)
    albedo = _albedo_space(assets, settings).to(device)

    progress = run.load()
    if progress is not None:
        _logger.info(
            "%d of %d frames are tracked (%s); continuing", progress.n_processed, len(frames), run.result
        )
    if progress is None or progress.n_processed < len(frames) or not run.report.is_file():
        with raster_backend(settings.raster_backend), open_tensorboard_log(run.folder) as log:
            fit = PhotometricFit(mesh, albedo, settings.n_shape, settings.n_expr, log.energies)
            track = track_sequentially if settings.mode == "sequential" else track_in_batches
            progress, albedo = track(fit, run, progress)
            write_report(mesh, albedo, run, progress, log)
    return Tracking(run.result)


def _albedo_space(assets: HeadAssets, settings: TrackingSettings) -> AlbedoSpace:
    if assets.texture_file is None:
        _logger.info("head model %s has no albedo space; tracking starts from a grey albedo", assets.name)
        return grey_albedo_space()
    return read_albedo_space(assets.texture_file, settings.n_tex, settings.tex_res)
