"""The landmark fit of one frame, started at the frame before. `docs/method.md`, section 7."""

from __future__ import annotations

import torch
from torch import Tensor

from nha.core.conventions import LANDMARK_GROUPS, N_FACE_LANDMARKS
from nha.head.model import HeadModel
from nha.tracking.camera_init import rigid_poses
from nha.tracking.landmark_fit import LandmarkFit, one_thread
from nha.tracking.landmark_priors import USUAL_FOCAL
from nha.tracking.least_squares import minimise_each
from nha.tracking.reprojection import DetectedLandmarks
from nha.tracking.state import PER_FRAME, Unknowns, start_unknowns

N_SHAPE, N_EXPRESSIONS = 20, 50  # coefficients of a driving person
_N_STEPS = 1  # the last frame is close: a second step changes the mean error by 0.3 %
_N_FIRST_STEPS = 8
_N_JOINT_STEPS = 4
_INNER_FACE = slice(len(LANDMARK_GROUPS["jaw"]), N_FACE_LANDMARKS)
# A frame whose landmarks are further from the head than this part of the face's height starts from a rigid pose.
_LOST_FACE_PART = 0.06


class LiveFit(LandmarkFit):
    """Parameters of a driving person from the landmarks of one frame after another."""

    def __init__(self, head: HeadModel) -> None:
        super().__init__(head, N_SHAPE, N_EXPRESSIONS)
        self._head = head
        self._prior = self.priors.at_rest()  # once: it takes longer than the fit of a frame

    def first(self, detected: DetectedLandmarks, person: Unknowns | None = None) -> Unknowns | None:
        """The unknowns [1] of a frame without a predecessor; None where no head pose fits its landmarks.

        Args:
            detected: landmarks of one frame.
            person: unknowns with the shape of the person and the focal length; None for the template's.
        """
        start = start_unknowns(self._head, 1, 0).to("cpu").with_focal(USUAL_FOCAL)
        if person is not None:
            start = start.replace(shape=person.shape, focal_and_centre=person.focal_and_centre)
        poses = rigid_poses(
            self._resting_landmarks(start, detected),
            detected.landmarks_px[:, :N_FACE_LANDMARKS],
            detected.confidence[:, :N_FACE_LANDMARKS],
            float(start.focal_and_centre[0]),
            detected.image_size,
        )
        if not bool(torch.isfinite(poses.error_px).all()):
            return None
        start = start.replace(rotation=poses.rotation, translation=poses.translation)
        return self._minimised(start, detected, _N_FIRST_STEPS)

    def next(self, previous: Unknowns, detected: DetectedLandmarks, face_height_px: float) -> Unknowns | None:
        """The unknowns [1] of a frame that follows `previous` [1]; None where no head pose fits its landmarks."""
        found = self._minimised(previous, detected, _N_STEPS)
        if self.inner_error_px(found, detected) <= _LOST_FACE_PART * face_height_px:
            return found
        return self.first(detected, person=previous)

    def together(
        self, frames: list[Unknowns], detected: DetectedLandmarks
    ) -> tuple[Unknowns, DetectedLandmarks]:
        """Fit frames together with the person's shape and the landmarks' offsets; the focal length stays.

        Args:
            frames: the unknowns [1] of N frames, found one by one.
            detected: their landmarks.

        Returns:
            The unknowns [N], and the landmarks with the offsets that were found.
        """
        stacked = {name: torch.cat([getattr(frame, name) for frame in frames]) for name in PER_FRAME}
        start = frames[0].replace(**stacked)
        return self.fit_together(start, detected, fixed_focal=True, n_steps=_N_JOINT_STEPS)

    def inner_error_px(self, unknowns: Unknowns, detected: DetectedLandmarks) -> float:
        """Mean distance of the landmarks inside the face to the detected ones, in pixels."""
        return float(self.errors_px(unknowns, detected)[:, _INNER_FACE].nanmean())

    @torch.no_grad()
    @one_thread()
    def _minimised(self, start: Unknowns, detected: DetectedLandmarks, n_steps: int) -> Unknowns:
        own, shared = self.vectors.own(start), self.vectors.shared(start, detected)
        observed = self._reprojection(detected)
        observed.reweight(own, shared)
        own = minimise_each(observed, [self._prior], own, shared, n_steps)
        return self.vectors.unknowns(start, own, shared)

    def _resting_landmarks(self, person: Unknowns, detected: DetectedLandmarks) -> Tensor:
        """The 68 landmarks, as the detector defines them, of the head at rest: [68, 3]."""
        unused = torch.zeros(self.model.n_expr)
        coefficients = torch.cat([person.shape, unused, detected.offsets.flatten()])[None]
        pose = self.vectors.own(self.priors.rest)[:, self.vectors.n_expr :].float()
        return self.model.points(coefficients, pose)[0, :N_FACE_LANDMARKS]
