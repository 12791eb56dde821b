"""Everything that landmarks alone can tell: camera, poses, shape, expressions, and which frames are wrong."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from nha.core.errors import UserError
from nha.tracking.camera_init import rigid_poses
from nha.tracking.fit import StageFitter
from nha.tracking.frames import TrackingFrames
from nha.tracking.keyframes import choose_keyframes
from nha.tracking.landmark_fit import USUAL_FOCAL, LandmarkFit
from nha.tracking.progress import RunFolder
from nha.tracking.reprojection import DetectedLandmarks
from nha.tracking.stages import focal_is_given
from nha.tracking.state import Unknowns, start_unknowns
from nha.tracking.timeline import bridge, face_box, make_timeline, neighbour_mean, strangers

# A frame whose landmarks lie this many times farther off than usual, and so far in face heights, is wrong.
_OUTLIER_RATIO, _OUTLIER_FACE_PART, _RIGID_OUTLIER_FACE_PART = 4.0, 0.025, 0.08
_INNER_LIPS = (62, 66)


class LandmarkStart:
    """Steps 1 to 3: everything that landmarks alone can tell. `unknowns` hold all frames, on the CPU."""

    def __init__(self, fitter: StageFitter, run: RunFolder, offsets: Tensor | None = None) -> None:
        self.frames, self.settings = run.frames, run.settings
        self.head = fitter.mesh.head
        self.usable = self.frames.has_landmarks & ~strangers(self.frames)
        self.timeline = make_timeline(self.frames, self.usable)
        self.fit = LandmarkFit(self.head, self.settings.n_shape, self.settings.n_expr, self.settings.weights)
        self.face_height = float(
            torch.tensor([face_box(self.frames, r)[1] for r in self.usable_rows()]).median()
        )
        self.detected = DetectedLandmarks(
            self.frames.landmarks_px,
            self.frames.confidence,
            self.frames.image_size,
            sigma_px=self.settings.batched.landmark_sigma * self.face_height,
        )
        if offsets is not None:
            self.detected = replace(self.detected, offsets=offsets)
        self.unknowns = start_unknowns(self.head, len(self.frames), fitter.albedo.n_components).to("cpu")

    def usable_rows(self) -> list[int]:
        """Rows of the frames that landmarks place."""
        return torch.nonzero(self.usable)[:, 0].tolist()

    def place_rigidly(self) -> list[int]:
        """Camera and rigid poses of all frames; returns the rows of the keyframes."""
        # A head of average shape says little about the focal length: it waits for the keyframes' fit.
        self._place(self.usable_rows(), self.settings.focal or USUAL_FOCAL)
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
        """Where a detector sees the 68 landmarks of the head at rest, as known so far: [68, 3] metres."""
        resting = self.head.neutral_params(1)
        resting = resting.replace(shape=self.unknowns.shape[None].to(resting.shape))
        return (self.head.landmarks(self.head(resting))[0].cpu() + self.detected.offsets)[:68]

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
        found, detected = self.fit.fit_together(start, detected, fixed_focal=fixed)
        self.detected = replace(self.detected, offsets=detected.offsets)
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
        neighbours = neighbour_mean(part, self.timeline.rows(rows))
        part = self.fit.fit_frames(part, self.detected.rows(rows), neighbours=neighbours, n_steps=3)
        return bridge(unknowns.with_rows(rows, part), self.usable, self.timeline)

    def frames_as_meant(self, unknowns: Unknowns) -> TrackingFrames:
        """The frames with landmarks where the head model's own are, as far as the offsets are known."""
        shift_px = self.fit.offset_shift_px(unknowns, self.detected)
        return replace(self.frames, landmarks_px=self.frames.landmarks_px - shift_px)
