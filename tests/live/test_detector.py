"""mediapipe's landmarks of a real person, where the video is at hand, and the driver on them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from nha.data.video_io import iterate_frames
from nha.live.detector import FaceDetector, shrunk
from nha.live.driver import LiveDriver


@pytest.fixture(scope="module")
def person(shared_dir) -> list[np.ndarray]:
    """Frames of a portrait, 512 x 512, 25 a second; the head turns to the side after five seconds."""
    pytest.importorskip("mediapipe", exc_type=ImportError)
    video = shared_dir / "video" / "portrait_a.mp4"
    if not video.is_file():
        pytest.skip("the portrait video is not there")
    return list(itertools.islice(iterate_frames(video, 4), 50))


def test_a_person_is_followed_lost_and_found(person, avatar, poses):
    driver = LiveDriver(avatar, poses.neutral, poses.camera)
    shown = [driver.update(rgb, 4 * i / 25) for i, rgb in enumerate(person)]
    assert {pose.status for pose in shown[10:]} == {"following"}
    assert (
        driver._fit.inner_error_px(
            driver._last, driver.person.landmarks(driver._detector(person[-1]).detected)
        )
        < 5
    )
    turn = (shown[-1].params.rotation - shown[10].params.rotation).norm()
    assert 0.2 < float(turn) < 1.2  # radians
    lost = driver.update(np.zeros_like(person[0]), 9.0)
    assert lost.status == "lost"
    assert driver.update(person[-1], 9.04).status == "following"


def test_large_images_give_the_landmarks_of_small_ones(person):
    detector = FaceDetector()
    small = detector(person[0])
    detector.reset()
    large = detector(np.repeat(np.repeat(person[0], 3, 0), 3, 1))
    scale = large.detected.image_size[0] / 512
    difference = large.detected.landmarks_px / scale - small.detected.landmarks_px
    assert large.detected.image_size == (640, 640)
    assert float(difference.abs().mean()) < 1.5
    detector.close()


def test_small_images_are_not_changed():
    rgb = np.zeros((30, 40, 3), np.uint8)
    assert shrunk(rgb, 64) is rgb
    assert shrunk(rgb, 20).shape == (15, 20, 3)
