"""The fit of shape and poses to outlines and ears, in rounds of matching and least squares. Ours.

Frames without parsing have no matches; without any parsing the stage changes nothing.
"""

from __future__ import annotations

import functools
from dataclasses import replace

import torch
from torch import Tensor

from nha.core.rotations import rotation_matrix, rotation_vector
from nha.head import joint_limits
from nha.tracking.frames import TrackingFrames
from nha.tracking.keyframes import head_angles_deg
from nha.tracking.landmark_fit import LandmarkFit
from nha.tracking.outline_match import OutlineMatcher
from nha.tracking.outlines import HeadOutline, outline_size, read_outline
from nha.tracking.reprojection import DetectedLandmarks
from nha.tracking.state import Unknowns
from nha.tracking.surface_points import SurfaceTargets

_CHUNK = 32  # frames that are matched and fitted together
_FRAME_STEPS = 3
# The parsing looks for ears where the landmarks expect them, which is wrong earlier than the landmarks of the face.
_EAR_EARLIER_DEG = 10.0


class OutlineStage:
    """Matches outlines and ears, and fits shape and poses to them.

    Args:
        matcher: finds the matches.
        fit: the least-squares problem.
        frames: the frames with their files.
    """

    def __init__(self, matcher: OutlineMatcher, fit: LandmarkFit, frames: TrackingFrames) -> None:
        self.matcher, self.fit, self.frames = matcher, fit, frames
        self.settings = matcher.settings
        self.size = outline_size(frames.image_size)
        self._outlines: dict[int, HeadOutline | None] = {}

    @functools.cached_property
    def active(self) -> bool:
        """Whether there is a parsing, and the settings ask for it."""
        return self.settings.outline_rounds > 0 and any(path.parsing.is_file() for path in self.frames.paths)

    def fit_together(
        self, rows: list[int], start: Unknowns, detected: DetectedLandmarks, *, fixed_focal: bool
    ) -> tuple[Unknowns, DetectedLandmarks]:
        """Refine what `LandmarkFit.fit_together` found for the keyframes `rows`."""
        outlines = [self._outline(row) for row in rows]
        if not self.active or not any(outlines):
            return start, detected
        for _ in range(self.settings.outline_rounds):
            targets, trusted = self._matches(outlines, start, detected)
            start, found = self.fit.refine_together(start, trusted, targets, fixed_focal=fixed_focal)
            detected = replace(detected, offsets=found.offsets)
        return start, detected

    def fit_frames(
        self,
        rows: list[int],
        unknowns: Unknowns,
        detected: DetectedLandmarks,
        *,
        neighbours: Unknowns | None = None,
        n_rounds: int | None = None,
    ) -> Unknowns:
        """Fit pose and expression of frames to landmarks and outlines.

        Args:
            rows: the frames to fit.
            unknowns: of all frames.
            detected: landmarks of all frames.
            neighbours: of the fitted frames, see `LandmarkFit.fit_frames`.
            n_rounds: how often matches are found; None: as often as the settings say.

        Returns:
            The unknowns of all frames.
        """
        if not self.active:
            return unknowns
        for first in range(0, len(rows), _CHUNK):
            chunk = rows[first : first + _CHUNK]
            outlines = [self._outline(row) for row in chunk]
            line = None if neighbours is None else neighbours.rows(range(first, first + len(chunk)))
            found = unknowns.rows(chunk)
            for _ in range(self.settings.outline_frame_rounds if n_rounds is None else n_rounds):
                if any(outlines):
                    targets, trusted = self._matches(outlines, found, detected.rows(chunk))
                else:
                    targets, trusted = None, detected.rows(chunk)
                found = self.fit.fit_frames(
                    found, trusted, neighbours=line, targets=targets, n_steps=_FRAME_STEPS
                )
            unknowns = unknowns.with_rows(chunk, found)
        return unknowns

    def trusted(self, rows: list[int], found: Unknowns, detected: DetectedLandmarks) -> DetectedLandmarks:
        """The landmarks of frames `rows` with confidences that decrease in profile, where there is an outline.

        Args:
            rows: the frames.
            found: their unknowns.
            detected: landmarks of all frames.
        """
        shown = [self.active and self._outline(row) is not None for row in rows]
        return self._trusted(shown, head_yaw_deg(found), detected.rows(rows))

    def _matches(
        self, outlines: list[HeadOutline | None], found: Unknowns, detected: DetectedLandmarks
    ) -> tuple[SurfaceTargets, DetectedLandmarks]:
        """Matches of some frames, and their landmarks with confidences that decrease in profile."""
        yaw_deg = head_yaw_deg(found)
        ear_trust = self._profile_trust(yaw_deg + _EAR_EARLIER_DEG)
        targets = self.matcher.match(found, outlines, ear_trust.tolist(), self.frames.image_size)
        return targets, self._trusted([outline is not None for outline in outlines], yaw_deg, detected)

    def _trusted(self, shown: list[bool], yaw_deg: Tensor, detected: DetectedLandmarks) -> DetectedLandmarks:
        trust = torch.where(torch.tensor(shown), self._profile_trust(yaw_deg), 1.0)
        return replace(detected, confidence=detected.confidence * trust[:, None].to(detected.confidence))

    def _profile_trust(self, yaw_deg: Tensor) -> Tensor:
        """Weight 0..1 of landmarks of heads at a yaw of [N] degrees: detectors lag behind a turn to profile."""
        beyond = (yaw_deg - self.settings.profile_yaw_deg).clamp_min(0) / self.settings.profile_fall_deg
        return 1 / (1 + beyond).square()

    def _outline(self, row: int) -> HeadOutline | None:
        if row not in self._outlines:
            self._outlines[row] = read_outline(self.frames.paths[row].parsing, self.size)
        return self._outlines[row]


def head_yaw_deg(unknowns: Unknowns) -> Tensor:
    """How far heads are turned to either side, global rotation and neck together: [N] degrees."""
    neck = rotation_matrix(joint_limits.neck_angles(unknowns.neck))
    rotation = rotation_vector(rotation_matrix(unknowns.rotation) @ neck)
    return head_angles_deg(rotation)[:, 0].abs()
