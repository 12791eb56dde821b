"""The published procedure: the first frame with its keyframes, then frame after frame. Method, section 7."""

from __future__ import annotations

import time

import torch
from tqdm import tqdm

from nha.core.system import get_logger
from nha.tracking.camera_init import calibrate, rigid_poses
from nha.tracking.fit import StageFitter, Surroundings
from nha.tracking.observe import observe
from nha.tracking.progress import Progress, RunFolder
from nha.tracking.stages import first_frame_stage, next_frame_stage
from nha.tracking.state import PER_FRAME, Unknowns, start_unknowns

_logger = get_logger(__name__)


def track_sequentially(fitter: StageFitter, run: RunFolder, progress: Progress | None) -> Progress:
    """Track all frames one after the other; `progress` is what an earlier run has left, or None."""
    frames, settings = run.frames, run.settings
    device = fitter.mesh.faces.device
    cuts = set(frames.rows_of(settings.sequential.cutframes, "cutframes"))
    if progress is None:
        progress = _first_frame(fitter, run)
        run.save(progress)
    rows = range(progress.n_processed, len(frames))
    for row in tqdm(rows, desc="tracking", unit="frame", disable=None):
        began = time.perf_counter()
        stage = next_frame_stage(settings, after_cut=row in cuts)
        previous = progress.unknowns.rows([row - 1]).to(device)
        around = Surroundings(previous=previous.translation[0])
        found = fitter.fit(stage, observe(frames, [row], device, stage.face_only), previous, around)
        unknowns = progress.unknowns.with_rows([row], found.to("cpu"))
        progress = progress.advanced(unknowns, row + 1, frames=time.perf_counter() - began)
        if (row + 1) % settings.save_period == 0 or row + 1 == len(frames):
            run.save(progress)
    return progress


def _first_frame(fitter: StageFitter, run: RunFolder) -> Progress:
    """Camera and first poses from landmarks, then the first frame with all keyframes."""
    began = time.perf_counter()
    frames, settings = run.frames, run.settings
    device = fitter.mesh.faces.device
    # frames before the first one with a face cannot start anything: they get its values
    first = int(torch.nonzero(frames.has_landmarks)[0])
    keyframes = [row for row in frames.rows_of(settings.keyframes, "keyframes") if row != first]
    rows = [first, *keyframes]
    start = _start_from_landmarks(fitter, run, rows)
    stage = first_frame_stage(settings)
    seen = observe(frames, rows, device, stage.face_only)
    found = fitter.fit(stage, seen, start.to(device), Surroundings()).to("cpu")
    unknowns = start_unknowns_of_all(found, len(frames))
    unknowns = unknowns.with_rows(rows, found)
    return Progress(
        unknowns=unknowns,
        n_processed=first + 1,
        keyframes=tuple(frames.frame_ids[row] for row in rows),
        without_landmarks=tuple(frames.frame_ids[row] for row in torch.nonzero(~frames.has_landmarks)[:, 0]),
        outliers=(),
        seconds={stage.name: round(time.perf_counter() - began, 3)},
    )


def _start_from_landmarks(fitter: StageFitter, run: RunFolder, rows: list[int]) -> Unknowns:
    """Unknowns of some frames with a calibrated camera and rigid poses, on the CPU."""
    frames, settings, head = run.frames, run.settings, fitter.mesh.head
    resting = head.neutral_params(1)
    landmarks = head.landmarks(head(resting))[0].cpu()
    pixels, confidence = frames.landmarks_px[rows], frames.confidence[rows]
    focal = settings.focal or calibrate(landmarks[:68], pixels[:, :68], confidence[:, :68], frames.image_size)
    poses = rigid_poses(landmarks[:68], pixels[:, :68], confidence[:, :68], focal, frames.image_size)
    unknowns = start_unknowns(head, len(rows), fitter.albedo.n_components).to("cpu")
    known = torch.isfinite(poses.error_px)[:, None]
    camera = unknowns.focal_and_centre.clone()
    camera[0] = focal
    return unknowns.replace(
        rotation=torch.where(known, poses.rotation, unknowns.rotation),
        translation=torch.where(known, poses.translation, unknowns.translation),
        focal_and_centre=camera,
    )


def start_unknowns_of_all(found: Unknowns, n_frames: int) -> Unknowns:
    """All frames with the values of the first one."""
    repeated = {name: getattr(found, name)[:1].repeat(n_frames, 1) for name in PER_FRAME}
    return found.replace(**repeated)
