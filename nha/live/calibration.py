"""The driving person's neutral face, from the first second in which a face is seen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from nha.core.types import HeadParams
from nha.live.detector import FaceLandmarks
from nha.live.fit import LiveFit
from nha.tracking.reprojection import DetectedLandmarks
from nha.tracking.state import PER_FRAME, Unknowns

_MIN_FRAMES = 5
_JOINT_FRAMES = 6  # frames of the calibration that are fitted together


@dataclass(frozen=True)
class DrivingPerson:
    """What is known about a driving person after the calibration.

    Attributes:
        neutral: [1] the person's unknowns at rest, with the person's shape.
        offsets: [70, 3] metres, see `DetectedLandmarks`.
    """

    neutral: Unknowns
    offsets: Tensor

    @cached_property
    def neutral_params(self) -> HeadParams:
        """The head parameters [1] at rest."""
        return self.neutral.head_params()

    def landmarks(self, detected: DetectedLandmarks) -> DetectedLandmarks:
        """Landmarks with the person's offsets."""
        return replace(detected, offsets=self.offsets)


class Calibration:
    """Collects frames of a relaxed face, and finds shape, landmark offsets and neutral pose from them.

    Landmarks cannot tell a resting mouth that hangs open from an opened one: the person should look at the camera with
    a relaxed face meanwhile. The median over the frames ignores a blink.
    """

    def __init__(self, fit: LiveFit, duration_s: float) -> None:
        """duration_s: from the first frame with a face to the end."""
        self._fit, self._duration_s = fit, duration_s
        self._frames: list[tuple[float, Unknowns, DetectedLandmarks]] = []

    @property
    def progress(self) -> float:
        """The finished share, 0..1."""
        if not self._frames:
            return 0.0
        passed_s = self._frames[-1][0] - self._frames[0][0]
        in_time = passed_s / self._duration_s if self._duration_s > 0 else 1.0
        return min(in_time, len(self._frames) / _MIN_FRAMES, 1.0)

    def add(self, face: FaceLandmarks, time_s: float) -> DrivingPerson | None:
        """Add the landmarks of a frame; returns the person when there are enough."""
        if self._frames and self._frames[-1][2].image_size != face.detected.image_size:
            self._frames = []
        if self._frames:
            found = self._fit.next(self._frames[-1][1], face.detected, face.height_px)
        else:
            found = self._fit.first(face.detected)
        if found is not None:
            self._frames.append((time_s, found, face.detected))
        return self._person() if found is not None and self.progress >= 1 else None

    def _person(self) -> DrivingPerson:
        rows = torch.linspace(0, len(self._frames) - 1, min(len(self._frames), _JOINT_FRAMES)).round().int()
        chosen = [self._frames[int(row)] for row in rows]
        detected = replace(
            chosen[0][2],
            landmarks_px=torch.cat([frame[2].landmarks_px for frame in chosen]),
            confidence=torch.cat([frame[2].confidence for frame in chosen]),
        )
        found, detected = self._fit.together([frame[1] for frame in chosen], detected)
        median = {name: getattr(found, name).median(0, keepdim=True).values for name in PER_FRAME}
        return DrivingPerson(found.replace(**median), detected.offsets)
