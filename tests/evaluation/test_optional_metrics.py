"""Optional metrics: their values, and the reasons why they are absent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from nha.core.errors import UserError
from nha.evaluation import optional_metrics
from nha.evaluation.landmark_distance import LandmarkDistance
from nha.preprocess.estimators import Face


class BrightestPixel:
    """A "detector": 68 landmarks at the brightest pixel; no face in a dark image."""

    name, sequential = "brightest pixel", False

    def faces(self, frame):
        grey = frame.rgb.max(2)
        if grey.max() < 200:
            return []
        row, column = np.unravel_index(grey.argmax(), grey.shape)
        points = (
            np.tile(np.float32([column, row]), (68, 1)) + np.linspace(0, 0.1, 68, dtype=np.float32)[:, None]
        )
        return [Face(points, np.zeros(68), np.ones(68), np.zeros((0, 3)))]


def test_landmark_distance_is_measured_in_pixels():
    prediction, target = torch.zeros(2, 2, 3, 20, 30)
    prediction[:, :, 4, 7] = 1
    target[0, :, 7, 11] = 1  # 3 down, 4 to the right; no face in the second image
    distance = LandmarkDistance(BrightestPixel())(prediction, target)
    assert distance[0] == pytest.approx(5, abs=1e-4)
    assert distance[1].isnan()


def test_the_reason_for_an_absent_metric_is_given(monkeypatch):
    def missing(*_):
        raise UserError("the package is not there; install it")

    monkeypatch.setattr(optional_metrics, "landmark_detector", missing)
    monkeypatch.setattr(optional_metrics, "load_lpips", missing)
    opened = optional_metrics.open_optional_metrics(torch.device("cpu"))
    assert not opened.metrics
    assert dict(opened.absent) == dict.fromkeys(
        ("lpips", "landmark_px"), "the package is not there; install it"
    )


def test_mediapipe_finds_the_face_of_a_synthetic_person(tmp_path: Path):
    pytest.importorskip("mediapipe")
    from nha.data.video_io import iterate_frames
    from nha.evaluation.landmark_distance import landmark_detector
    from nha.synthetic.settings import SyntheticSettings
    from nha.synthetic.write_dataset import write_subject

    write_subject(tmp_path, SyntheticSettings(frames=2, size=(160, 160), progress=False))
    rgb = np.stack(list(iterate_frames(tmp_path / "video.mp4")))
    images = torch.from_numpy(rgb).permute(0, 3, 1, 2).float() / 255
    shifted = torch.roll(images, 6, dims=3)
    measure = LandmarkDistance(landmark_detector(torch.device("cpu")))
    assert measure(images, images).max() < 0.1
    assert measure(images, shifted).numpy() == pytest.approx(6, abs=1.5)
