"""Stages of the batched mode that use landmarks alone: camera, poses, shape, expressions and outlier frames."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from nha.core.conventions import LANDMARK_GROUPS, N_FACE_LANDMARKS
from nha.tracking.camera_init import no_pose_error, rigid_poses
from nha.tracking.frames import TrackingFrames
from nha.tracking.keyframes import choose_keyframes
from nha.tracking.landmark_fit import LandmarkFit
from nha.tracking.landmark_priors import USUAL_FOCAL
from nha.tracking.outline_match import OutlineMatcher
from nha.tracking.outline_stage import OutlineStage
from nha.tracking.photometric import TrackerMesh
from nha.tracking.progress import RunFolder
from nha.tracking.reprojection import DetectedLandmarks, distance_noise_px
from nha.tracking.stages import focal_is_given
from nha.tracking.state import Unknowns, start_unknowns
from nha.tracking.timeline import (
    face_box,
    identity_outliers,
    interpolate_gaps,
    make_timeline,
    neighbour_mean,
)

# A frame is an outlier if its landmark error exceeds this multiple of the median and this part of a face height.
_OUTLIER_RATIO, _OUTLIER_FACE_PART, _RIGID_OUTLIER_FACE_PART = 4.0, 0.025, 0.08
_INNER_LIPS = (62, 66)
_INNER_FACE = slice(len(LANDMARK_GROUPS["jaw"]), N_FACE_LANDMARKS)


class LandmarkStages:
    """The landmark-only stages, in the order of their methods.

    Attributes:
        unknowns: of all F frames, on the CPU.
        usable: bool [F], frames whose landmarks were not rejected so far.
        detected: the landmarks of all frames.
    """

    def __init__(self, run: RunFolder, mesh: TrackerMesh, n_texture: int) -> None:
        self.frames, self.settings, self.head = run.frames, run.settings, mesh.head
        self.usable = self.frames.has_landmarks & ~identity_outliers(self.frames)
        self.timeline = make_timeline(self.frames, self.usable)
        self.fit = LandmarkFit(
            mesh.head,
            self.settings.n_shape,
            self.settings.n_expr,
            weights=self.settings.weights,
            outline=self.settings.outline,
        )
        self.face_height_px = float(
            torch.tensor([face_box(self.frames, row)[1] for row in self.usable_rows()]).median()
        )
        self.detected = DetectedLandmarks(
            self.frames.landmarks_px,
            self.frames.confidence,
            self.frames.image_size,
            sigma_px=self.settings.batched.landmark_sigma * self.face_height_px,
            pair_sigma_px=max(self.settings.batched.distance_sigma * self.face_height_px, self._noise_px()),
        )
        self.outlines = OutlineStage(
            OutlineMatcher(mesh, self.settings.outline, self.face_height_px), self.fit, self.frames
        )
        self.unknowns = start_unknowns(mesh.head, len(self.frames), n_texture).to("cpu")

    def usable_rows(self) -> list[int]:
        """Row numbers of the usable frames."""
        return torch.nonzero(self.usable)[:, 0].tolist()

    def _noise_px(self) -> float:
        """Noise of distances between landmarks in the usable frames."""
        rows = self.usable_rows()
        closeness = self.timeline.rows(rows).position_and_closeness()[1]
        return distance_noise_px(self.frames.landmarks_px[rows], closeness)

    def place_rigidly(self) -> list[int]:
        """Find camera and rigid poses of all frames, and return the rows of the keyframes."""
        # A head of average shape hardly determines the focal length: the keyframes' fit does.
        self._place(self.usable_rows(), self.settings.focal or USUAL_FOCAL)
        if not bool(self.usable.any()):
            raise no_pose_error("any frame", self.settings.data_path)
        given = self.frames.rows_of(self.settings.keyframes, "keyframes")
        if usable := [row for row in given if self.usable[row]]:
            return usable
        pixels = self.frames.landmarks_px
        opening_px = torch.linalg.vector_norm(pixels[:, _INNER_LIPS[0]] - pixels[:, _INNER_LIPS[1]], dim=1)
        return choose_keyframes(
            self.unknowns.rotation,
            opening_px / self.face_height_px,
            self.usable,
            self.settings.batched.n_keyframes,
        )

    def fit_keyframes(self, keyframes: list[int]) -> None:
        """Find shape, focal length and landmark offsets from the keyframes; then place every frame anew."""
        fixed = focal_is_given(self.settings)
        start, detected = self.unknowns.rows(keyframes), self.detected.rows(keyframes)
        found, detected = self.fit.fit_together(start, detected, fixed_focal=fixed)
        found, detected = self.outlines.fit_together(keyframes, found, detected, fixed_focal=fixed)
        self.detected = replace(self.detected, offsets=detected.offsets)
        self.unknowns = self.unknowns.with_rows(keyframes, found)
        self._place(self.usable_rows(), float(found.focal_and_centre[0]))

    def fit_all_frames(self) -> list[int]:
        """Find pose and expression of all frames, and return the rows whose landmarks are rejected."""
        rows = self.usable_rows()
        found = self.fit.fit_frames(self.unknowns.rows(rows), self.detected.rows(rows))
        self.unknowns = self.unknowns.with_rows(rows, found)
        error_px = self.fit.errors_px(found, self.detected.rows(rows))[:, _INNER_FACE].nanmean(1)
        self._reject(rows, error_px > self._outlier_limit_px(error_px, _OUTLIER_FACE_PART))
        self.unknowns = self.outlines.fit_frames(self.usable_rows(), self.unknowns, self.detected)
        self.unknowns = self.refit_smoothly(self.unknowns)
        return torch.nonzero(self.frames.has_landmarks & ~self.usable)[:, 0].tolist()

    def refit_smoothly(self, unknowns: Unknowns) -> Unknowns:
        """Fit the usable frames once more, with the smoothness term, and interpolate the others."""
        rows = self.usable_rows()
        neighbours = neighbour_mean(unknowns.rows(rows), self.timeline.rows(rows))
        if self.outlines.active:
            fitted = self.outlines.fit_frames(
                rows, unknowns, self.detected, neighbours=neighbours, n_rounds=1
            )
        else:
            found = self.fit.fit_frames(
                unknowns.rows(rows), self.detected.rows(rows), neighbours=neighbours, n_steps=3
            )
            fitted = unknowns.with_rows(rows, found)
        fitted = self._with_expressions(rows, fitted)
        return interpolate_gaps(fitted, self.usable, self.timeline)

    def _with_expressions(self, rows: list[int], unknowns: Unknowns) -> Unknowns:
        """Fit the expressions of frames `rows` to distances between landmarks as well."""
        found = unknowns.rows(rows)
        line = neighbour_mean(found, self.timeline.rows(rows))
        trusted = self.outlines.trusted(rows, found, self.detected)
        return unknowns.with_rows(rows, self.fit.fit_expressions(found, trusted, neighbours=line))

    def frames_without_offsets(self, unknowns: Unknowns, offsets: Tensor) -> TrackingFrames:
        """The frames with each landmark moved to where the head model's own landmark is.

        Args:
            unknowns: of all frames.
            offsets: [70, 3], see `DetectedLandmarks`.
        """
        shift_px = self.fit.offset_shift_px(unknowns, replace(self.detected, offsets=offsets))
        return replace(self.frames, landmarks_px=self.frames.landmarks_px - shift_px)

    def _place(self, rows: list[int], focal: float) -> None:
        pixels = self.frames.landmarks_px[rows, :N_FACE_LANDMARKS]
        confidence = self.frames.confidence[rows, :N_FACE_LANDMARKS]
        poses = rigid_poses(self._resting_landmarks(), pixels, confidence, focal, self.frames.image_size)
        # False for NaN, a frame without a pose
        found = poses.error_px <= self._outlier_limit_px(poses.error_px, _RIGID_OUTLIER_FACE_PART)
        self._reject(rows, ~found)
        placed = torch.tensor(rows)[found]
        self.unknowns = self.unknowns.with_focal(focal).replace(
            rotation=self.unknowns.rotation.index_copy(0, placed, poses.rotation[found]),
            translation=self.unknowns.translation.index_copy(0, placed, poses.translation[found]),
        )

    def _resting_landmarks(self) -> Tensor:
        """The 68 landmarks, as the detector defines them, of the head at rest with the shape so far: [68, 3]."""
        resting = self.head.neutral_params(1)
        resting = resting.replace(shape=self.unknowns.shape[None].to(resting.shape))
        landmarks = self.head.landmarks(self.head(resting))[0].cpu()
        return (landmarks + self.detected.offsets)[:N_FACE_LANDMARKS]

    def _reject(self, rows: list[int], rejected: Tensor) -> None:
        self.usable[torch.tensor(rows, dtype=torch.long)[rejected]] = False

    def _outlier_limit_px(self, errors_px: Tensor, face_part: float) -> float:
        return max(_OUTLIER_RATIO * float(errors_px.nanmedian()), face_part * self.face_height_px)
