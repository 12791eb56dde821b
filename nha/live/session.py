"""Live driving beside a renderer: images are followed in a thread, and the latest pose is drawn.

live = open_live("experiments/me/avatar/avatar.ckpt", "0")  # the first camera
for image in live.images((256, 256)):
    image.rgb  # uint8 [256, 256, 3]
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch

from nha.avatar.base import HeadAvatar
from nha.core.types import Camera
from nha.data.tracked_video import Tracking
from nha.data.tracking_file import TrackingResult
from nha.export.source import open_source as open_avatar
from nha.live.base_poses import base_poses
from nha.live.driver import LiveDriver, LivePose
from nha.live.settings import LiveSettings
from nha.live.sources import ImageSource, open_source
from nha.visualization.colours import to_uint8

_WAIT_S = 0.1


@dataclass(frozen=True)
class LiveImage:
    """A rendered image.

    Attributes:
        rgb: uint8 [H, W, 3] on white.
        pose: the pose that it shows.
        latency_s: seconds from the driving person's image to this one.
    """

    rgb: np.ndarray
    pose: LivePose
    latency_s: float


class LiveSession:
    """Follows the latest image of a source in a thread; a context manager.

    Attributes:
        avatar: the avatar.
        camera: [1], the camera that sees it.
        driver: the core, which the thread uses.
        source: of the images.
    """

    def __init__(self, avatar: HeadAvatar, camera: Camera, driver: LiveDriver, source: ImageSource) -> None:
        """Start to follow."""
        self.avatar, self.camera, self.driver, self.source = avatar, camera, driver, source
        self._pose: LivePose | None = None
        self._changed = threading.Condition()
        self._closed, self._ended = threading.Event(), False
        self._calibrate = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._follow, daemon=True, name="live driving")
        self._thread.start()

    @property
    def pose(self) -> LivePose | None:
        """The latest pose; None before the first image. Raises what went wrong in the thread."""
        if self._error is not None:
            raise self._error
        return self._pose

    @property
    def has_ended(self) -> bool:
        """Whether the source has ended and its last image was followed."""
        return self._ended

    def next_pose(self, after: int, timeout_s: float = _WAIT_S) -> LivePose | None:
        """The latest pose once its number is larger than `after`; None after the timeout or at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._number > after, timeout_s)
        return self.pose if self._number > after else None

    def calibrate(self) -> None:
        """Find the driving person's neutral face anew, from the next image on."""
        self._calibrate.set()

    @torch.no_grad()
    def images(self, image_size: tuple[int, int]) -> Iterator[LiveImage]:
        """Render the avatar of each followed image until the source ends; late images are dropped.

        Args:
            image_size: (height, width) in pixels.
        """
        camera = scaled_camera(self.camera, image_size)
        number = 0
        while True:
            pose = self.next_pose(number)
            if pose is None:
                if self._ended:
                    return
                continue
            number = pose.number
            rgb = to_uint8(self.avatar.render(pose.params, camera, corrected=True).rgb01[0])
            yield LiveImage(rgb, pose, time.perf_counter() - pose.time_s)

    def close(self) -> None:
        """End both threads, release the camera and free the detector's model."""
        self._closed.set()
        self._thread.join(5)
        self.source.close()
        if not self._thread.is_alive():  # which uses the detector
            self.driver.close()

    def __enter__(self) -> LiveSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _number(self) -> int:
        return 0 if self._pose is None else self._pose.number

    def _follow(self) -> None:
        number = 0
        try:
            while not self._closed.is_set():
                image = self.source.latest(number, _WAIT_S)
                if self._calibrate.is_set():
                    self._calibrate.clear()
                    self.driver.calibrate()
                if image is None:
                    if self.source.error is not None:
                        raise self.source.error
                    if self.source.has_ended:
                        break
                    continue
                number = image.number
                pose = self.driver.update(image.rgb, image.time_s)
                with self._changed:
                    self._pose = pose
                    self._changed.notify_all()
        except Exception as error:  # raised where the pose is asked for
            self._error = error
        with self._changed:
            self._ended = True
            self._changed.notify_all()


def open_live(
    avatar: HeadAvatar | str | Path,
    source: str,
    *,
    tracking: TrackingResult | Tracking | str | Path | None = None,
    head: str | Path | None = None,
    device: str = "auto",
    repeat: bool = False,
    **settings: Any,
) -> LiveSession:
    """Drive an avatar with the face in front of a camera or in a video.

    Args:
        avatar, tracking, head, device: see `nha.export.source.open_source`.
        source: number of a camera ("0" is the first one), or path of a video file, which is played at its speed.
        repeat: whether the video starts again at its end.
        settings: further settings of `LiveSettings`, such as `live_smoothing`.

    Returns:
        The running session; `images` renders what was followed, `close` ends it.

    Raises:
        UserError: there is no such camera, a file is missing or broken, or mediapipe is not installed.
    """
    images = open_source(source, repeat=repeat)
    try:
        opened = open_avatar(avatar, tracking, head, device)
        with torch.no_grad():
            poses = base_poses(opened.avatar, opened.tracking)
        driver = LiveDriver(
            opened.avatar, poses.neutral, poses.camera, LiveSettings.from_ini(None, **settings)
        )
    except BaseException:
        images.close()
        raise
    return LiveSession(opened.avatar, poses.camera, driver, images)


def scaled_camera(camera: Camera, image_size: tuple[int, int]) -> Camera:
    """A camera [1] for images of another (height, width): the same height is visible, centred sideways."""
    height, width = image_size
    scale = height / camera.image_size[0]
    intrinsics = camera.intrinsics * scale
    centre_x = intrinsics[:, 0, 2] + (width - camera.image_size[1] * scale) / 2
    intrinsics = intrinsics.clone()
    intrinsics[:, 0, 2], intrinsics[:, 2, 2] = centre_x, 1.0
    return dataclasses.replace(camera, intrinsics=intrinsics, image_size=(height, width))
