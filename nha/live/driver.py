"""The core of live driving: an image of the driving person to the head parameters of the avatar."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch

from nha.avatar.base import HeadAvatar
from nha.core.types import Camera, HeadParams
from nha.live.calibration import Calibration, DrivingPerson
from nha.live.detector import FaceDetector, FaceLandmarks
from nha.live.fit import LiveFit
from nha.live.motion_filter import MotionFilter
from nha.live.retarget import Retarget
from nha.live.settings import LiveSettings
from nha.live.timing import timed
from nha.tracking.state import Unknowns

Status = Literal["calibrating", "following", "lost"]
Detector = Callable[[np.ndarray], FaceLandmarks | None]


@dataclass(frozen=True, eq=False)
class LivePose:
    """The avatar's pose for one image of the driving person.

    Attributes:
        number: count of the images so far, from 1.
        time_s: when the image was taken, seconds.
        status: "calibrating" until the driving person's neutral face is known, "lost" while no face is found (the last
            pose is kept), else "following".
        progress: finished share of the calibration, 0..1.
        params: [1], the avatar's parameters, corrected (for `HeadAvatar.render(..., corrected=True)`).
        seconds: time that each part took: landmarks, fit, retarget.
    """

    number: int
    time_s: float
    status: Status
    progress: float
    params: HeadParams
    seconds: dict[str, float] = field(default_factory=dict)


class LiveDriver:
    """Follows a face from image to image.

    Attributes:
        person: what the calibration has found, None before its end.
    """

    def __init__(
        self,
        avatar: HeadAvatar,
        neutral: HeadParams,
        camera: Camera,
        settings: LiveSettings | None = None,
        detector: Detector | None = None,
    ) -> None:
        """Prepare the fit.

        Args:
            avatar: the avatar that is driven.
            neutral: [1], its neutral pose, with its corrections.
            camera: [1], the camera that sees it.
            settings: smoothing and calibration.
            detector: finds the landmarks of an image uint8 [H, W, 3]; None for mediapipe.

        Raises:
            UserError: mediapipe is not installed.
        """
        self._settings = settings or LiveSettings()
        self._detector = detector or FaceDetector()
        self._avatar, self._fit = avatar, LiveFit(avatar.head)
        self._retarget = Retarget(avatar.head, neutral, camera)
        self._filter = MotionFilter(neutral, self._settings.live_smoothing)
        self._number, self._time_s = 0, -math.inf
        self.calibrate()

    def calibrate(self) -> None:
        """Find the driving person's neutral face anew in the next images."""
        self.person: DrivingPerson | None = None
        self._last: Unknowns | None = None
        self._calibration = Calibration(self._fit, self._settings.live_calibration)

    def close(self) -> None:
        """Free the detector's model."""
        if isinstance(self._detector, FaceDetector):
            self._detector.close()

    @torch.no_grad()
    def update(self, rgb: np.ndarray, time_s: float) -> LivePose:
        """The avatar's pose for the next image.

        Args:
            rgb: uint8 [H, W, 3].
            time_s: when it was taken, in seconds of any clock. Where the clock has gone back, the calibration begins
                again, and the motion goes on from the pose that is shown.
        """
        self._number += 1
        if time_s < self._time_s:
            self._filter.hold()
            if self.person is None:
                self.calibrate()
        self._time_s = time_s
        seconds: dict[str, float] = {}
        with timed(seconds, "landmarks"):
            face = self._detector(rgb[:, ::-1] if self._settings.live_mirror else rgb)
        driving = None
        with timed(seconds, "fit"):
            if face is not None:
                driving = self._follow(face, time_s)
        with timed(seconds, "retarget"):
            if driving is None:
                params = self._filter.hold()
            else:
                moved = self._retarget(driving.head_params(), self.person.neutral_params)
                params = self._filter(moved, time_s)
        status: Status = "following" if driving is not None else "lost"
        if self.person is None:
            status = "calibrating"
        progress = 1.0 if self.person is not None else self._calibration.progress
        return LivePose(self._number, time_s, status, progress, self._avatar.settled(params), seconds)

    def _follow(self, face: FaceLandmarks, time_s: float) -> Unknowns | None:
        """The driving person's unknowns [1]; None during the calibration and where no head pose fits the landmarks."""
        if self.person is None:
            self.person = self._calibration.add(face, time_s)
            if self.person is None:
                return None
            self._last = self.person.neutral
        detected = self.person.landmarks(face.detected)
        if self._last is None:
            found = self._fit.first(detected, self.person.neutral)
        else:
            found = self._fit.next(self._last, detected, face.height_px)
        self._last = found
        return found


def describe(pose: LivePose | None) -> str:
    """The status in words, for a line of the user interface."""
    if pose is None:
        return "waiting for the first image"
    if pose.status == "calibrating":
        if pose.progress == 0:
            return "no face yet: look at the camera"
        return f"calibrating {math.floor(100 * pose.progress)} %: look at the camera with a relaxed face"
    return "following" if pose.status == "following" else "face lost: the last pose is kept"
