"""The batched procedure: landmarks place every frame, keyframes settle what is shared, batches refine.

1. camera and rigid poses of all frames from landmarks
2. keyframes chosen (unless given); shape, focal length, pose and expression from their landmarks
3. pose and expression of all frames from landmarks, held together in time; outliers found
4. keyframes against pictures: albedo and light; then the person's own albedo, unwrapped from many frames
5. frames from all over the video against pictures, together: shape, camera, light; the albedo once more
6. all frames against pictures, in batches; frames without a usable face are bridged
"""

from __future__ import annotations

import time

import torch
from tqdm import tqdm

from nha.core.system import get_logger
from nha.tracking.appearance import AlbedoSpace
from nha.tracking.fit import StageFitter, Surroundings
from nha.tracking.frames import TrackingFrames
from nha.tracking.landmark_start import LandmarkStart
from nha.tracking.observe import observe
from nha.tracking.progress import Person, Progress, RunFolder
from nha.tracking.stages import appearance_stage, joint_stage, refinement_stage
from nha.tracking.state import Unknowns
from nha.tracking.timeline import Timeline, bridge, make_timeline
from nha.tracking.unwrap import AlbedoGatherer

_logger = get_logger(__name__)

_UNWRAPPED_FRAMES = 24


def track_in_batches(fitter: StageFitter, run: RunFolder, progress: Progress | None) -> Progress:
    """Track all frames in parallel; `progress` is what an earlier run has left, or None."""
    person = run.load_person()
    if progress is None or person is None:
        progress, person = _settle_shared_unknowns(fitter, run)
        run.save_person(person)
        run.save(progress)
    own_albedo = person.albedo.to(fitter.mesh.faces.device)
    frames = LandmarkStart(fitter, run, person.landmark_offsets).frames_as_meant(progress.unknowns)
    return _refine_in_batches(fitter.with_albedo(own_albedo), run, frames, progress)


# --- steps 1 to 5 ----------------------------------------------------------------------------------------


def _settle_shared_unknowns(fitter: StageFitter, run: RunFolder) -> tuple[Progress, Person]:
    began = time.perf_counter()
    start = LandmarkStart(fitter, run)
    keyframes = start.place_rigidly()
    start.fit_keyframes(keyframes)
    outliers = start.fit_all()
    keyframes = [row for row in keyframes if start.usable[row]]
    placed = time.perf_counter()

    unknowns, usable = start.unknowns, start.usable_rows()
    if keyframes:
        unknowns = _fit_appearance(fitter, run, unknowns, keyframes)
    own_albedo = _unwrap(fitter, run, unknowns, usable)
    appeared = time.perf_counter()
    if run.settings.batched.joint_steps > 0:
        unknowns = _fit_jointly(fitter.with_albedo(own_albedo), run, start, unknowns)
        own_albedo = _unwrap(fitter, run, unknowns, usable)
    done = time.perf_counter()

    def ids(rows) -> tuple[int, ...]:
        return tuple(run.frames.frame_ids[int(row)] for row in rows)

    _logger.info("keyframes: %s", ", ".join(map(str, ids(keyframes))))
    if outliers:
        _logger.info("frames whose landmarks are not believed: %s", ", ".join(map(str, ids(outliers))))
    seconds = {"landmarks": placed - began, "appearance": appeared - placed, "joint": done - appeared}
    progress = Progress(
        unknowns=unknowns,
        n_processed=0,
        keyframes=ids(keyframes),
        without_landmarks=ids(torch.nonzero(~run.frames.has_landmarks)[:, 0]),
        outliers=ids(outliers),
        seconds={stage: round(spent, 3) for stage, spent in seconds.items()},
    )
    return progress, Person(own_albedo, start.detected.offsets)


def _fit_jointly(fitter: StageFitter, run: RunFolder, start: LandmarkStart, unknowns: Unknowns) -> Unknowns:
    """Shape, camera and light with the poses of frames from all over the video; then all frames follow."""
    stage, batched, device = joint_stage(run.settings), run.settings.batched, fitter.mesh.faces.device
    rows = evenly(start.usable_rows(), batched.joint_frames)
    n_batches = -(-len(rows) // batched.batch_size)
    frames = start.frames_as_meant(unknowns)
    for number in range(n_batches):
        spread = rows[number::n_batches]
        seen = observe(frames, spread, device, stage.face_only)
        found = fitter.fit(stage, seen, unknowns.rows(spread).to(device), Surroundings()).to("cpu")
        unknowns = unknowns.with_rows(spread, found)
    return start.refit_around(unknowns)


def _fit_appearance(fitter: StageFitter, run: RunFolder, unknowns: Unknowns, rows: list[int]) -> Unknowns:
    stage = appearance_stage(run.settings)
    device = fitter.mesh.faces.device
    seen = observe(run.frames, rows, device, stage.face_only)
    found = fitter.fit(stage, seen, unknowns.rows(rows).to(device), Surroundings()).to("cpu")
    return unknowns.replace(texture=found.texture, light=found.light)


def _unwrap(fitter: StageFitter, run: RunFolder, unknowns: Unknowns, usable: list[int]) -> AlbedoSpace:
    """The person's own albedo from frames spread over the video."""
    device, settings = fitter.mesh.faces.device, run.settings
    gathered = AlbedoGatherer.empty(device)
    rows = evenly(usable, _UNWRAPPED_FRAMES)
    for first in range(0, len(rows), settings.batched.batch_size):
        batch = rows[first : first + settings.batched.batch_size]
        seen = observe(run.frames, batch, device, settings.batched.use_parsing)
        gathered.add(fitter.mesh, unknowns.rows(batch).to(device), seen)
    return gathered.albedo_space(fitter.albedo, unknowns.texture.to(device))


def evenly(rows: list[int], count: int) -> list[int]:
    """At most `count` of the rows, evenly spread."""
    places = torch.linspace(0, len(rows) - 1, min(len(rows), count)).round().int()
    return [rows[place] for place in places.tolist()]


# --- step 6 ----------------------------------------------------------------------------------------------


def _refine_in_batches(
    fitter: StageFitter, run: RunFolder, frames: TrackingFrames, progress: Progress
) -> Progress:
    settings = run.settings
    device = fitter.mesh.faces.device
    stage = refinement_stage(settings)
    usable = _usable_rows(frames, progress)
    believed = torch.zeros(len(frames), dtype=torch.bool)
    believed[usable] = True
    timeline = make_timeline(frames, believed)
    usable_timeline, size = timeline.rows(usable), settings.batched.batch_size
    todo = stage.n_steps > 0 and progress.n_processed < len(frames)
    starts = range(progress.n_processed, len(usable), size) if todo else ()
    for number, first in enumerate(tqdm(starts, desc="tracking", unit="batch", disable=None), start=1):
        began = time.perf_counter()
        places = list(range(first, min(first + size, len(usable))))
        rows = [usable[place] for place in places]
        around = _surroundings(progress.unknowns, usable, usable_timeline, places, device)
        start = progress.unknowns.rows(rows).to(device)
        found = fitter.fit(stage, observe(frames, rows, device, stage.face_only), start, around)
        unknowns = progress.unknowns.with_rows(rows, found.to("cpu"))
        finished = places[-1] + 1
        progress = progress.advanced(unknowns, finished, frames=time.perf_counter() - began)
        if finished < len(usable) and number % settings.save_period == 0:
            run.save(progress)
    unknowns = bridge(progress.unknowns, believed, timeline)
    progress = progress.advanced(unknowns, len(frames))
    run.save(progress)
    return progress


def _usable_rows(frames: TrackingFrames, progress: Progress) -> list[int]:
    left_out = {*progress.without_landmarks, *progress.outliers}
    return [row for row, frame_id in enumerate(frames.frame_ids) if frame_id not in left_out]


def _surroundings(
    unknowns: Unknowns, usable: list[int], timeline: Timeline, places: list[int], device: torch.device
) -> Surroundings:
    """The frames on either side of a batch: the one before is final, the one after where landmarks put it."""
    position, closeness = timeline.position_and_closeness()
    before = usable[max(places[0] - 1, 0)]
    after = usable[min(places[-1] + 1, len(usable) - 1)]
    return Surroundings(
        before=unknowns.rows([before]).to(device),
        after=unknowns.rows([after]).to(device),
        position=position[places].to(device),
        closeness=closeness[places].to(device),
    )
