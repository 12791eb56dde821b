"""The batched mode: initial poses from landmarks, shared parameters from keyframes, refinement in batches."""

from __future__ import annotations

import torch

from nha.core.progress import progress as show_progress
from nha.core.system import get_logger
from nha.tracking.appearance import AlbedoSpace
from nha.tracking.frames import TrackingFrames
from nha.tracking.keyframes import evenly_spaced
from nha.tracking.landmark_stages import LandmarkStages
from nha.tracking.photometric_fit import PhotometricFit, TemporalContext
from nha.tracking.progress import Person, Progress, RunFolder
from nha.tracking.stage_times import shown_stage, timed
from nha.tracking.stages import appearance_stage, joint_stage, refinement_stage
from nha.tracking.state import Unknowns
from nha.tracking.timeline import Timeline, interpolate_gaps, make_timeline
from nha.tracking.unwrap import AlbedoAccumulator

_logger = get_logger(__name__)

_UNWRAPPED_FRAMES = 24


def track_in_batches(
    fit: PhotometricFit, run: RunFolder, progress: Progress | None
) -> tuple[Progress, AlbedoSpace]:
    """Track all frames in parallel.

    Args:
        fit: the photometric fit with the head model's albedo space.
        run: output folder, settings and frames.
        progress: what an earlier run left, or None.

    Returns:
        The finished progress, and the person's own albedo.
    """
    landmarks = LandmarkStages(run, fit.mesh, fit.albedo.n_components)
    person = run.load_person()
    if progress is None or person is None:
        seconds: dict[str, float] = {}
        with shown_stage(seconds, "landmarks"):
            # 1. camera and rigid poses of all frames from landmarks; keyframes chosen, unless they are given
            keyframes = landmarks.place_rigidly()
            # 2. shape, focal length, pose and expression from the keyframes' landmarks
            landmarks.fit_keyframes(keyframes)
            # 3. pose and expression of all frames from landmarks, smooth in time; outliers rejected
            outliers = landmarks.fit_all_frames()
            keyframes = [row for row in keyframes if landmarks.usable[row]]
        unknowns = landmarks.unknowns
        with shown_stage(seconds, "appearance"):
            # 4. albedo and light from the keyframes' images; then the person's own albedo from many frames
            if keyframes:
                unknowns = _fit_appearance(fit, run, unknowns, keyframes)
            albedo = _unwrap_albedo(fit, run, unknowns, landmarks.usable_rows())
        with shown_stage(seconds, "joint"):
            # 5. shape, camera and light together with frames from all over the video; the albedo once more
            if run.settings.batched.joint_steps > 0:
                unknowns = _fit_jointly(fit.with_albedo(albedo), run, landmarks, unknowns)
                albedo = _unwrap_albedo(fit, run, unknowns, landmarks.usable_rows())
        person = Person(albedo, landmarks.detected.offsets)
        progress = Progress.started(run.frames, unknowns, keyframes, outliers, seconds)
        _log_frames(progress)
        run.save_person(person)
        run.save(progress)
    # 6. all frames against their images, in batches; frames without a usable face are interpolated
    albedo = person.albedo.to(fit.mesh.faces.device)
    frames = landmarks.frames_without_offsets(progress.unknowns, person.landmark_offsets)
    return _refine_in_batches(fit.with_albedo(albedo), run, frames, progress), albedo


def _log_frames(progress: Progress) -> None:
    _logger.info("keyframes: %s", ", ".join(map(str, progress.keyframes)))
    if progress.outliers:
        _logger.info("rejected landmark frames: %s", ", ".join(map(str, progress.outliers)))


# --- steps 4 and 5 ---------------------------------------------------------------------------------------


def _fit_appearance(fit: PhotometricFit, run: RunFolder, unknowns: Unknowns, rows: list[int]) -> Unknowns:
    stage, device = appearance_stage(run.settings), fit.mesh.faces.device
    observation = run.frames.observe(rows, device, with_masks=stage.face_only)
    found = fit.minimise(stage, observation, unknowns.rows(rows).to(device), TemporalContext()).to("cpu")
    return unknowns.replace(texture=found.texture, light=found.light)


def _unwrap_albedo(fit: PhotometricFit, run: RunFolder, unknowns: Unknowns, usable: list[int]) -> AlbedoSpace:
    """The person's own albedo from frames spread over the video."""
    device, batched = fit.mesh.faces.device, run.settings.batched
    accumulated = AlbedoAccumulator.empty(device)
    rows = evenly_spaced(usable, _UNWRAPPED_FRAMES)
    for first in range(0, len(rows), batched.batch_size):
        batch = rows[first : first + batched.batch_size]
        observation = run.frames.observe(batch, device, with_masks=batched.use_parsing)
        accumulated.add(fit.mesh, unknowns.rows(batch).to(device), observation)
    return accumulated.albedo_space(fit.albedo, unknowns.texture.to(device))


def _fit_jointly(
    fit: PhotometricFit, run: RunFolder, landmarks: LandmarkStages, unknowns: Unknowns
) -> Unknowns:
    """Shape, camera and light with the poses of some frames; then the poses of all frames from landmarks."""
    stage, batched, device = joint_stage(run.settings), run.settings.batched, fit.mesh.faces.device
    rows = evenly_spaced(landmarks.usable_rows(), batched.joint_frames)
    n_batches = -(-len(rows) // batched.batch_size)
    frames = landmarks.frames_without_offsets(unknowns, landmarks.detected.offsets)
    for number in range(n_batches):
        spread = rows[number::n_batches]
        observation = frames.observe(spread, device, with_masks=stage.face_only)
        start = unknowns.rows(spread).to(device)
        found = fit.minimise(stage, observation, start, TemporalContext()).to("cpu")
        unknowns = unknowns.with_rows(spread, found)
    return landmarks.refit_smoothly(unknowns)


# --- step 6 ----------------------------------------------------------------------------------------------


def _refine_in_batches(
    fit: PhotometricFit, run: RunFolder, frames: TrackingFrames, progress: Progress
) -> Progress:
    settings, stage, device = run.settings, refinement_stage(run.settings), fit.mesh.faces.device
    rejected = {*progress.without_landmarks, *progress.outliers}
    usable = torch.tensor([frame_id not in rejected for frame_id in frames.frame_ids])
    usable_rows = torch.nonzero(usable)[:, 0].tolist()
    timeline = make_timeline(frames, usable)
    usable_timeline, size = timeline.rows(usable_rows), settings.batched.batch_size
    remaining = stage.n_steps > 0 and progress.n_processed < len(frames)
    starts = range(progress.n_processed, len(usable_rows), size) if remaining else ()
    for number, first in enumerate(show_progress(starts, "tracking: images", unit="batches"), start=1):
        spent: dict[str, float] = {}
        with timed(spent, "frames"):
            places = list(range(first, min(first + size, len(usable_rows))))
            rows = [usable_rows[place] for place in places]
            context = _temporal_context(progress.unknowns, usable_rows, usable_timeline, places, device)
            observation = frames.observe(rows, device, with_masks=stage.face_only)
            found = fit.minimise(stage, observation, progress.unknowns.rows(rows).to(device), context)
            unknowns = progress.unknowns.with_rows(rows, found.to("cpu"))
        finished = places[-1] + 1
        progress = progress.advanced(unknowns, finished, spent)
        if finished < len(usable_rows) and number % settings.save_period == 0:
            run.save(progress)
    unknowns = interpolate_gaps(progress.unknowns, usable, timeline)
    progress = progress.advanced(unknowns, len(frames), {})
    run.save(progress)
    return progress


def _temporal_context(
    unknowns: Unknowns, usable: list[int], timeline: Timeline, places: list[int], device: torch.device
) -> TemporalContext:
    """The frames on either side of a batch: the one before is final, the one after is fitted to landmarks only."""
    position, closeness = timeline.position_and_closeness()
    before = usable[max(places[0] - 1, 0)]
    after = usable[min(places[-1] + 1, len(usable) - 1)]
    return TemporalContext(
        before=unknowns.rows([before]).to(device),
        after=unknowns.rows([after]).to(device),
        position=position[places].to(device),
        closeness=closeness[places].to(device),
    )
