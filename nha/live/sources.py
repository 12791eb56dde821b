"""Images of the driving person: of a camera, or of a video file that is played at its speed.

A thread reads them; whoever asks gets the latest one, so that images are dropped where the rest is slower.
"""

from __future__ import annotations

import gc
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from nha.core.errors import UserError
from nha.core.paths import path_of_user
from nha.core.text import shortened
from nha.data.video_io import iterate_frames, video_info
from nha.preprocess.backends.mediapipe_runtime import quiet

_CAMERA_SIZE = (640, 480)  # asked for; cameras choose the nearest one that they have
_CAMERA_FPS = 30
_MOST_CAMERAS = 64
_LATEST_S = 1.0  # a video that is later goes on from there, instead of making up for it


@dataclass(frozen=True)
class TimedImage:
    """An image of the driving person.

    Attributes:
        number: count of the images of the source, from 1; numbers are skipped where images were dropped.
        time_s: when it was taken or due, in seconds of `time.perf_counter`.
        rgb: uint8 [H, W, 3].
    """

    number: int
    time_s: float
    rgb: np.ndarray


class ImageSource:
    """Reads images in a thread, and keeps the latest one.

    Attributes:
        name: of the camera or the file, for messages.
        n_read: number of images so far.
    """

    def __init__(self, name: str, images: Iterator[tuple[float, np.ndarray]]) -> None:
        """Start to read.

        Args:
            name: for messages.
            images: times in seconds of `time.perf_counter`, and images; waits until each is due.
        """
        self.name, self.n_read = name, 0
        self._latest: TimedImage | None = None
        self._changed = threading.Condition()
        self._closed, self._ended = False, False
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._read, args=(images,), daemon=True, name="images")
        self._thread.start()

    @property
    def has_ended(self) -> bool:
        """Whether no further image will come."""
        return self._ended

    def latest(self, after: int, timeout_s: float) -> TimedImage | None:
        """The latest image, once its number is larger than `after`; None after the timeout or at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self.n_read > after, timeout_s)
            return self._latest if self.n_read > after else None

    def close(self) -> None:
        """End the thread and release the camera."""
        self._closed = True
        self._thread.join(5)

    def _read(self, images: Iterator[tuple[float, np.ndarray]]) -> None:
        try:
            with closing(images):
                for time_s, rgb in images:
                    if self._closed:
                        break
                    with self._changed:
                        self.n_read += 1
                        self._latest = TimedImage(self.n_read, time_s, rgb)
                        self._changed.notify_all()
        except Exception as error:  # shown by whoever waits for images
            self.error = error
        with self._changed:
            self._ended = True
            self._changed.notify_all()


def open_source(text: str, *, repeat: bool = False) -> ImageSource:
    """Start to read a camera or a video.

    Args:
        text: number of a camera, or path of a video file.
        repeat: whether the video starts again at its end.

    Raises:
        UserError: there is no such camera, or the file is no video.
    """
    if text.isdecimal():
        return ImageSource(f"camera {text}", _camera_images(_open_camera(text)))
    path = path_of_user(text)
    frame_rate = float(video_info(path).fps)  # raises UserError for a file that cannot be read
    return ImageSource(path.name, _played(path, frame_rate, repeat))


def _open_camera(text: str) -> cv2.VideoCapture:
    text = shortened(text, 12)
    number = int(text) if text.isdecimal() else _MOST_CAMERAS
    camera = None
    if number < _MOST_CAMERAS:
        with quiet():
            camera = cv2.VideoCapture(number)
    if camera is None or not camera.isOpened():
        raise UserError(
            f"--live {text}: there is no camera {text} that can be opened; connect one, allow this program to use it, "
            "or give a video file"
        )
    camera.set(cv2.CAP_PROP_FRAME_WIDTH, _CAMERA_SIZE[0])
    camera.set(cv2.CAP_PROP_FRAME_HEIGHT, _CAMERA_SIZE[1])
    camera.set(cv2.CAP_PROP_FPS, _CAMERA_FPS)
    camera.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # older images are of no use
    return camera


def _camera_images(camera: cv2.VideoCapture) -> Iterator[tuple[float, np.ndarray]]:
    try:
        while True:
            found, bgr = camera.read()
            if not found:
                raise UserError("the camera gives no more images; connect it again and restart the viewer")
            yield time.perf_counter(), cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
    finally:
        camera.release()


def _played(
    path: Path,
    frame_rate: float,
    repeat: bool,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[tuple[float, np.ndarray]]:
    """The images of a video with the times at which they are due, not before these times."""
    start, count = clock(), 0
    for round_number in itertools.count():
        if round_number and not repeat:
            return
        if round_number:
            gc.collect()  # PyAV's containers are in reference cycles and hold decoded images
        for rgb in iterate_frames(path, quiet=round_number > 0):
            due = start + count / frame_rate
            wait = due - clock()
            if wait > 0:
                sleep(wait)
            elif wait < -_LATEST_S:  # the program was stopped, or the machine is too slow for this video
                start, due = start - wait, due - wait
            count += 1
            yield due, rgb
