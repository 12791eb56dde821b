"""The sequential mode, as published: the first frame with its keyframes, then frame after frame.

`docs/method.md`, section 7.
"""

from __future__ import annotations

import torch

from nha.core.conventions import N_FACE_LANDMARKS
from nha.core.progress import progress as show_progress
from nha.tracking.appearance import AlbedoSpace
from nha.tracking.camera_init import calibrate, no_pose_error, rigid_poses
from nha.tracking.photometric_fit import PhotometricFit, TemporalContext
from nha.tracking.progress import Progress, RunFolder
from nha.tracking.stage_times import shown_stage, timed
from nha.tracking.stages import first_frame_stage, next_frame_stage
from nha.tracking.state import PER_FRAME, Unknowns, start_unknowns


def track_sequentially(
    fit: PhotometricFit, run: RunFolder, progress: Progress | None
) -> tuple[Progress, AlbedoSpace]:
    """Track all frames one after the other; arguments and results are those of `batched.track_in_batches`."""
    frames, settings, device = run.frames, run.settings, fit.mesh.faces.device
    cuts = set(frames.rows_of(settings.sequential.cutframes, "cutframes"))
    if progress is None:
        progress = _fit_first_frame(fit, run)
        run.save(progress)
    rows = range(progress.n_processed, len(frames))
    for row in show_progress(rows, "tracking"):
        spent: dict[str, float] = {}
        with timed(spent, "frames"):
            stage = next_frame_stage(settings, after_cut=row in cuts)
            previous = progress.unknowns.rows([row - 1]).to(device)
            observation = frames.observe([row], device, with_masks=stage.face_only)
            context = TemporalContext(previous=previous.translation[0])
            found = fit.minimise(stage, observation, previous, context)
            unknowns = progress.unknowns.with_rows([row], found.to("cpu"))
        progress = progress.advanced(unknowns, row + 1, spent)
        if (row + 1) % settings.save_period == 0 or row + 1 == len(frames):
            run.save(progress)
    return progress, fit.albedo


def _fit_first_frame(fit: PhotometricFit, run: RunFolder) -> Progress:
    """Camera and first poses from landmarks, then the first frame with all keyframes."""
    frames, settings, device = run.frames, run.settings, fit.mesh.faces.device
    stage, seconds = first_frame_stage(settings), {}
    with shown_stage(seconds, stage.name):
        # frames before the first one with a face cannot be a start: they get its values
        first = int(torch.nonzero(frames.has_landmarks)[0])
        keyframes = [row for row in frames.rows_of(settings.keyframes, "keyframes") if row != first]
        rows = [first, *keyframes]
        start = start_from_landmarks(fit, run, rows)
        observation = frames.observe(rows, device, with_masks=stage.face_only)
        found = fit.minimise(stage, observation, start.to(device), TemporalContext()).to("cpu")
        unknowns = _repeat_first_frame(found, len(frames)).with_rows(rows, found)
    return Progress.started(frames, unknowns, rows, [], seconds, n_processed=first + 1)


def start_from_landmarks(fit: PhotometricFit, run: RunFolder, rows: list[int]) -> Unknowns:
    """Unknowns of some frames with a calibrated camera and rigid poses, on the CPU. Raises UserError without a pose."""
    frames, head = run.frames, fit.mesh.head
    resting = head.landmarks(head(head.neutral_params(1)))[0, :N_FACE_LANDMARKS].cpu()
    pixels = frames.landmarks_px[rows, :N_FACE_LANDMARKS]
    confidence = frames.confidence[rows, :N_FACE_LANDMARKS]
    focal = run.settings.focal or calibrate(resting, pixels, confidence, frames.image_size)
    poses = rigid_poses(resting, pixels, confidence, focal, frames.image_size)
    unknowns = start_unknowns(head, len(rows), fit.albedo.n_components).to("cpu")
    known = torch.isfinite(poses.error_px)[:, None]
    if not bool(known.any()):
        raise no_pose_error("the first frame with a face and the keyframes", run.settings.data_path)
    return unknowns.with_focal(focal).replace(
        rotation=torch.where(known, poses.rotation, unknowns.rotation),
        translation=torch.where(known, poses.translation, unknowns.translation),
    )


def _repeat_first_frame(found: Unknowns, n_frames: int) -> Unknowns:
    """All frames with the values of the first one."""
    repeated = {name: getattr(found, name)[:1].repeat(n_frames, 1) for name in PER_FRAME}
    return found.replace(**repeated)
