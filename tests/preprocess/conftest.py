"""A synthetic video and fake estimators that are fast and exact.

Each frame is a dark image with a bright square for each face; red marks the person, other colours other people.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
import torch

from nha.core.conventions import Parsing
from nha.core.optional_files import optional_file
from nha.data.dataset_folder import (
    DatasetFolder,
    Keypoints,
    write_keypoints,
    write_labels,
    write_normals,
)
from nha.data.video_io import VideoWriter
from nha.preprocess.crop import FrameTransform
from nha.preprocess.estimators import (
    EstimatorSet,
    Face,
    Frame,
    IrisEstimator,
    LandmarkEstimator,
    MattingEstimator,
    NormalEstimator,
    ParsingEstimator,
)
from nha.preprocess.networks.published import NETWORKS
from nha.preprocess.options import PreprocessOptions
from parity_checks.deterministic import filled
from tests.preprocess.published import FAKE_FACE_ALIGNMENT, FAN_FILES

HEIGHT, WIDTH, SIDE = 72, 96, 20
RED, BLUE = (255, 60, 60), (60, 60, 255)
# A face's 68 points, in units of its square.
SHAPE01 = np.random.default_rng(3).random((68, 2)).astype(np.float32)


@pytest.fixture(scope="session")
def fakes() -> ModuleType:
    """This file: its functions and classes, for tests."""
    return sys.modules[__name__]


@pytest.fixture(scope="session")
def contents() -> Callable[[Path], dict[str, str]]:
    """contents(folder): relative path -> hash, for every file below the folder."""

    def read(root: Path) -> dict[str, str]:
        files = (path for path in sorted(root.rglob("*")) if path.is_file())
        return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    return read


@pytest.fixture(scope="session")
def weights(tmp_path_factory) -> Path:
    """A folder as `assets`, with weights for the published networks that are functions of their names."""
    folder = tmp_path_factory.mktemp("weights")
    for name, net_type in NETWORKS.items():
        state = {key: filled(key, tuple(tensor.shape)) for key, tensor in net_type().state_dict().items()}
        path = optional_file(name, folder).paths[0]
        path.parent.mkdir()
        torch.save(state, path)
    return folder


@pytest.fixture
def truth_options(spaced_dir, fakes) -> PreprocessOptions:
    """A video of 96 x 72 with truth beside it; frame 2 has no face and the irises of frame 1 are hidden."""
    n_frames = 4
    video = fakes.write_video(spaced_dir / "video.mp4", fakes.walking_square(n_frames))
    truth = DatasetFolder(spaced_dir / "truth")
    rng = np.random.default_rng(0)
    for frame_id in range(n_frames):
        paths = truth.paths(frame_id)
        labels = np.zeros((fakes.HEIGHT, fakes.WIDTH), np.uint8)
        labels[10:60, 20:70] = Parsing.SKIN
        labels[10:20, 20:70] = Parsing.HEADWEAR
        labels[50:60, 20:70] = Parsing.CLOTH
        write_labels(paths.parsing, labels)
        write_normals(paths.normals, np.where(labels[..., None] > 0, np.float32([0, 0.6, 0.8]), 0))
        landmarks = rng.uniform(20, 60, (68, 2)).astype(np.float32)
        irises = np.float32([[30, 30], [50, 31]]) if frame_id != 1 else np.full((2, 2), -1, np.float32)
        if frame_id != 2:
            confidence = rng.random(68).astype(np.float32)
            write_keypoints(
                paths.keypoints, Keypoints(landmarks, np.full(68, 7, np.float32), confidence, irises)
            )
    return PreprocessOptions(
        video=video,
        out_path=spaced_dir / "data",
        estimators="truth",
        scale=96,
        max_missing=0.5,
        crop_to_head=False,
    )


def draw_frame(*squares: tuple[int, int, tuple[int, int, int]]) -> np.ndarray:
    """An image with squares (x, y, colour): uint8 [HEIGHT, WIDTH, 3]."""
    image = np.full((HEIGHT, WIDTH, 3), 16, np.uint8)
    for x, y, colour in squares:
        image[y : y + SIDE, x : x + SIDE] = colour
    return image


def write_video(path: Path, frames: list[np.ndarray]) -> Path:
    """Encode frames with hardly any loss."""
    with VideoWriter(path, 25, crf=1) as writer:
        for rgb in frames:
            writer.write(rgb)
    return path


def points_to_video(transform: FrameTransform, points_px: np.ndarray) -> np.ndarray:
    """Map points [..., 2] from the dataset image back to the video frame."""
    return points_px / transform.scale + np.array([transform.crop_x, transform.crop_y])


def walking_square(n_frames: int, faceless: tuple[int, ...] = ()) -> list[np.ndarray]:
    """A red square that moves to the right; some frames are empty."""
    return [
        draw_frame() if i in faceless else draw_frame((8 + 4 * i, 24 + i % 3, RED)) for i in range(n_frames)
    ]


class FakeLandmarks(LandmarkEstimator):
    """Detects squares. With `sequential`, the depth of the landmarks counts the frames, as the state of a tracker."""

    def __init__(self, sequential: bool) -> None:
        self.name = "fake landmarks"
        self.sequential = sequential
        self.n_seen = 0
        self.seen: list[int] = []

    def faces(self, frame: Frame) -> list[Face]:
        self.n_seen += 1
        self.seen.append(frame.frame_id)
        bright = (frame.rgb.max(axis=2) > 130).astype(np.uint8)
        count, _, statistics, _ = cv2.connectedComponentsWithStats(bright)
        return [self._face(statistics[i]) for i in range(1, count) if statistics[i][cv2.CC_STAT_AREA] > 50]

    def _face(self, box: np.ndarray) -> Face:
        return Face(
            landmarks_px=(SHAPE01 * box[2:4] + box[:2]).astype(np.float32),
            depth=np.full(68, self.n_seen if self.sequential else 0, np.float32),
            confidence=np.ones(68, np.float32),
            mesh_px=np.ones((5, 3), np.float32),
        )

    def reset(self) -> None:
        self.n_seen = 0


class FakeIris(IrisEstimator):
    name = "fake iris"

    def irises(self, frame: Frame, face: Face) -> np.ndarray:
        if frame.frame_id % 4 == 3:
            return np.full((2, 2), -1, np.float32)
        return np.stack([face.centre_px - (3, 0), face.centre_px + (3, 0)]).astype(np.float32)


class FakeMatting(MattingEstimator):
    def __init__(self, sequential: bool) -> None:
        self.name = "fake matting"
        self.sequential = sequential
        self.n_seen = 0
        self.seen: list[int] = []

    def matte(self, frame: Frame) -> np.ndarray:
        self.n_seen += 1
        self.seen.append(frame.frame_id)
        strength = 1 - 0.01 * self.n_seen if self.sequential else 1.0
        return (frame.rgb.max(axis=2) > 130).astype(np.float32) * strength


class FakeParsing(ParsingEstimator):
    name = "fake parsing"

    def parsing(self, frame: Frame, face: Face, matte: np.ndarray) -> np.ndarray:
        labels = np.full(matte.shape, Parsing.SKIN, np.uint8)
        middle = int(face.centre_px[1])
        labels[: middle - 5] = Parsing.HEADWEAR
        labels[middle + 5 :] = Parsing.CLOTH
        return labels


class FakeNormals(NormalEstimator):
    name = "fake normals"

    def normals(self, frame: Frame, face: Face, segmentation: np.ndarray) -> np.ndarray:
        return np.broadcast_to(np.array([0.6, 0.0, 0.8], np.float32), (*segmentation.shape, 3))


def fake_estimators(sequential: bool = False) -> EstimatorSet:
    """New estimators of all annotations."""
    return EstimatorSet(
        landmarks=FakeLandmarks(sequential),
        iris=FakeIris(),
        matting=FakeMatting(sequential),
        parsing=FakeParsing(),
        normals=FakeNormals(),
    )


@pytest.fixture
def torch_home(tmp_path: Path, monkeypatch) -> Path:
    """$TORCH_HOME with files under the names of face-alignment's weights; returns the folder that they are in."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch home"))
    checkpoints = tmp_path / "torch home" / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    for name in FAN_FILES:
        torch.save({"state_dict": {"weight": torch.zeros(1)}}, checkpoints / name)
    return checkpoints


@pytest.fixture
def face_alignment(tmp_path: Path, monkeypatch, torch_home: Path) -> ModuleType:
    """The stand-in for the package, importable here and in scripts that a test starts."""
    folder = tmp_path / "packages"
    folder.mkdir()
    (folder / "face_alignment.py").write_text(FAKE_FACE_ALIGNMENT)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "face_alignment", raising=False)
    import face_alignment

    yield face_alignment
    sys.modules.pop("face_alignment", None)
