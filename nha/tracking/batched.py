"""The batched procedure: landmarks place every frame, keyframes settle what is shared, batches refine.

1. camera and rigid poses of all frames from landmarks
2. keyframes chosen (unless given); shape, focal length, pose and expression from their landmarks
3. pose and expression of all frames from landmarks, held together in time; outliers found
4. keyframes against pictures: shape, albedo, light, camera
5. all frames against pictures, in batches; frames without a usable face are bridged
"""

from __future__ import annotations

import time

import torch
from torch import Tensor
from tqdm import tqdm

from nha.core.errors import UserError
from nha.core.system import get_logger
from nha.tracking.appearance import AlbedoSpace
from nha.tracking.camera_init import rigid_poses
from nha.tracking.fit import StageFitter, Surroundings
from nha.tracking.frames import TrackingFrames
from nha.tracking.keyframes import choose_keyframes
from nha.tracking.landmark_fit import DetectedLandmarks, LandmarkFit
from nha.tracking.observe import observe
from nha.tracking.progress import Progress, RunFolder
from nha.tracking.stages import appearance_stage, focal_is_given, refinement_stage
from nha.tracking.state import Unknowns, start_unknowns
from nha.tracking.timeline import Timeline, bridge, face_box, make_timeline, neighbour_mean
from nha.tracking.unwrap import AlbedoGatherer

_logger = get_logger(__name__)

_UNWRAPPED_FRAMES = 24
# A frame whose landmarks lie this many times farther off than usual, and so far in face heights, is wrong.
_OUTLIER_RATIO, _OUTLIER_FACE_PART, _RIGID_OUTLIER_FACE_PART = 4.0, 0.025, 0.08
_INNER_LIPS = (62, 66)


def track_in_batches(fitter: StageFitter, run: RunFolder, progress: Progress | None) -> Progress:
    """Track all frames in parallel; `progress` is what an earlier run has left, or None."""
    own_albedo = run.load_albedo()
    if progress is None or own_albedo is None:
        progress, own_albedo = _settle_shared_unknowns(fitter, run)
        run.save_albedo(own_albedo)
        run.save(progress)
    own_albedo = own_albedo.to(fitter.mesh.faces.device)
    return _refine_in_batches(fitter.with_albedo(own_albedo), run, progress)


# --- steps 1 to 4 ----------------------------------------------------------------------------------------


def _settle_shared_unknowns(fitter: StageFitter, run: RunFolder) -> tuple[Progress, AlbedoSpace]:
    began = time.perf_counter()
    start = LandmarkStart(fitter, run)
    keyframes = start.place_rigidly()
    start.fit_keyframes(keyframes)
    outliers = start.fit_all()
    keyframes = [row for row in keyframes if start.usable[row]]
    placed = time.perf_counter()

    unknowns = start.unknowns
    if keyframes:
        unknowns = _fit_appearance(fitter, run, unknowns, keyframes)
    own_albedo = _unwrap(fitter, run, unknowns, start.usable_rows())
    done = time.perf_counter()

    def ids(rows) -> tuple[int, ...]:
        return tuple(run.frames.frame_ids[int(row)] for row in rows)

    _logger.info("keyframes: %s", ", ".join(map(str, ids(keyframes))))
    if outliers:
        _logger.info("frames whose landmarks are not believed: %s", ", ".join(map(str, ids(outliers))))
    progress = Progress(
        unknowns=unknowns,
        n_processed=0,
        keyframes=ids(keyframes),
        without_landmarks=ids(torch.nonzero(~run.frames.has_landmarks)[:, 0]),
        outliers=ids(outliers),
        seconds={"landmarks": round(placed - began, 3), "appearance": round(done - placed, 3)},
    )
    return progress, own_albedo


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


class LandmarkStart:
    """Steps 1 to 3: everything that landmarks alone can tell. `unknowns` hold all frames, on the CPU."""

    def __init__(self, fitter: StageFitter, run: RunFolder) -> None:
        self.frames, self.settings = run.frames, run.settings
        self.head = fitter.mesh.head
        self.usable = self.frames.has_landmarks.clone()
        self.timeline = make_timeline(self.frames)
        self.fit = LandmarkFit(self.head, self.settings.n_shape, self.settings.n_expr)
        self.face_height = float(
            torch.tensor([face_box(self.frames, r)[1] for r in self.usable_rows()]).median()
        )
        self.detected = DetectedLandmarks(
            self.frames.landmarks_px,
            self.frames.confidence,
            self.frames.image_size,
            sigma_px=self.settings.batched.landmark_sigma * self.face_height,
        )
        self.unknowns = start_unknowns(self.head, len(self.frames), fitter.albedo.n_components).to("cpu")

    def usable_rows(self) -> list[int]:
        """Rows of the frames that landmarks place."""
        return torch.nonzero(self.usable)[:, 0].tolist()

    def place_rigidly(self) -> list[int]:
        """Camera and rigid poses of all frames; returns the rows of the keyframes."""
        # A head of average shape says little about the focal length: it waits for the keyframes' fit.
        self._place(self.usable_rows(), self.settings.focal or self.fit.priors.usual_focal)
        if not bool(self.usable.any()):
            raise UserError(
                f"the landmarks of no frame of '{self.settings.data_path}' look like a head; look at its "
                "dataset.mp4 and make them again with video_to_dataset.py"
            )
        given = self.frames.rows_of(self.settings.keyframes, "keyframes")
        if usable := [row for row in given if self.usable[row]]:
            return usable
        pixels = self.frames.landmarks_px
        opening = torch.linalg.vector_norm(pixels[:, _INNER_LIPS[0]] - pixels[:, _INNER_LIPS[1]], dim=1)
        count = self.settings.batched.n_keyframes
        return choose_keyframes(self.unknowns.rotation, opening / self.face_height, self.usable, count)

    def _resting_landmarks(self) -> Tensor:
        """The 68 landmarks of the head at rest, with the shape found so far: [68, 3] metres."""
        resting = self.head.neutral_params(1)
        resting = resting.replace(shape=self.unknowns.shape[None].to(resting.shape))
        return self.head.landmarks(self.head(resting))[0, :68].cpu()

    def _place(self, rows: list[int], focal: float) -> None:
        pixels, confidence = self.frames.landmarks_px[rows, :68], self.frames.confidence[rows, :68]
        size = self.frames.image_size
        poses = rigid_poses(self._resting_landmarks(), pixels, confidence, focal, size)
        limit = self._outlier_limit(poses.error_px, _RIGID_OUTLIER_FACE_PART)
        found = poses.error_px <= limit  # False for NaN
        self.usable[[row for row, ok in zip(rows, found, strict=True) if not ok]] = False
        placed = torch.tensor(rows)[found]
        camera = self.unknowns.focal_and_centre.clone()
        camera[0] = focal
        self.unknowns = self.unknowns.replace(
            rotation=self.unknowns.rotation.index_copy(0, placed, poses.rotation[found]),
            translation=self.unknowns.translation.index_copy(0, placed, poses.translation[found]),
            focal_and_centre=camera,
        )

    def fit_keyframes(self, keyframes: list[int]) -> None:
        """Shape and focal length from the keyframes' landmarks; then every frame is placed anew."""
        fixed = focal_is_given(self.settings)
        start, detected = self.unknowns.rows(keyframes), self.detected.rows(keyframes)
        found = self.fit.fit_together(start, detected, fixed_focal=fixed)
        self.unknowns = self.unknowns.with_rows(keyframes, found)
        self._place(self.usable_rows(), float(found.focal_and_centre[0]))

    def fit_all(self) -> list[int]:
        """Pose and expression of all frames; returns the rows whose landmarks cannot be believed."""
        rows = self.usable_rows()
        found = self.fit.fit_frames(self.unknowns.rows(rows), self.detected.rows(rows))
        self.unknowns = self.unknowns.with_rows(rows, found)
        error = self.fit.errors_px(found, self.detected.rows(rows))[:, 17:68].nanmean(1)
        limit = self._outlier_limit(error, _OUTLIER_FACE_PART)
        self.usable[[row for row, far in zip(rows, error > limit, strict=True) if far]] = False
        self.unknowns = self.refit_around(self.unknowns)
        return torch.nonzero(self.frames.has_landmarks & ~self.usable)[:, 0].tolist()

    def _outlier_limit(self, errors_px: Tensor, face_part: float) -> float:
        return max(_OUTLIER_RATIO * float(errors_px.nanmedian()), face_part * self.face_height)

    def refit_around(self, unknowns: Unknowns) -> Unknowns:
        """Fit the usable frames once more, each held to its neighbours; then bridge the others."""
        rows = self.usable_rows()
        part = unknowns.rows(rows)
        pulled_to, _ = neighbour_mean(part, self.timeline.rows(rows))
        part = self.fit.fit_frames(part, self.detected.rows(rows), neighbours=pulled_to, n_steps=3)
        return bridge(unknowns.with_rows(rows, part), self.usable, self.timeline)


# --- step 5 ----------------------------------------------------------------------------------------------


def _refine_in_batches(fitter: StageFitter, run: RunFolder, progress: Progress) -> Progress:
    frames, settings = run.frames, run.settings
    device = fitter.mesh.faces.device
    stage = refinement_stage(settings)
    usable = _usable_rows(frames, progress)
    timeline = make_timeline(frames).rows(usable)
    size = settings.batched.batch_size
    todo = stage.n_steps > 0 and progress.n_processed < len(frames)
    starts = range(progress.n_processed, len(usable), size) if todo else ()
    for number, first in enumerate(tqdm(starts, desc="tracking", unit="batch", disable=None), start=1):
        began = time.perf_counter()
        places = list(range(first, min(first + size, len(usable))))
        rows = [usable[place] for place in places]
        around = _surroundings(progress.unknowns, usable, timeline, places, device)
        start = progress.unknowns.rows(rows).to(device)
        found = fitter.fit(stage, observe(frames, rows, device, stage.face_only), start, around)
        unknowns = progress.unknowns.with_rows(rows, found.to("cpu"))
        finished = places[-1] + 1
        progress = progress.advanced(unknowns, finished, frames=time.perf_counter() - began)
        if finished < len(usable) and number % settings.save_period == 0:
            run.save(progress)
    known = torch.zeros(len(frames), dtype=torch.bool)
    known[usable] = True
    unknowns = bridge(progress.unknowns, known, make_timeline(frames))
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
    part, closeness = timeline.part_and_closeness()
    before = usable[max(places[0] - 1, 0)]
    after = usable[min(places[-1] + 1, len(usable) - 1)]
    return Surroundings(
        before=unknowns.rows([before]).to(device),
        after=unknowns.rows([after]).to(device),
        part=part[places].to(device),
        closeness=closeness[places].to(device),
    )
