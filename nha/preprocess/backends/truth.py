"""The ground truth that a synthetic subject's video comes with, as estimators.

Beside `video.mp4` lies a folder `truth` in the layout of a dataset folder, in the size of the video's frames:

    DIR/video.mp4
    DIR/truth/frame_0000/keypoints_static_0000.json   landmarks, irises (-1 where hidden), confidence
    DIR/truth/frame_0000/parsing_0000.png             labels
    DIR/truth/frame_0000/normals_0000.png             camera-space normals

A frame without a keypoints file has no face. Everything goes through the same crop, pad and scale as the
frames: points exactly, labels by nearest neighbour. The matte is where the parsing is not background.
Landmarks get depth 0, as nothing uses it. The segmentation follows from the parsing by the same rule as for
every other pack.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nha.core.conventions import N_FACE_LANDMARKS, Parsing
from nha.core.errors import UserError
from nha.data.dataset_folder import DatasetFolder, FramePaths, read_keypoints, read_labels, read_normals
from nha.preprocess.estimators import IRIS_NOT_FOUND, EstimatorPack, Face, Frame

TRUTH_FOLDER = "truth"


def truth_pack(video_path: str | Path) -> EstimatorPack:
    """Estimators that read the truth beside a video; UserError where there is none."""
    folder = Path(video_path).parent / TRUTH_FOLDER
    truth = DatasetFolder(folder)
    if not truth.frame_ids():
        raise UserError(
            f"no ground truth in '{folder}': only videos of make_synthetic_video.py have it; "
            "use --estimators mediapipe"
        )
    return EstimatorPack(
        landmarks=TruthLandmarks(truth),
        iris=TruthIris(truth),
        matting=TruthMatting(truth),
        parsing=TruthParsing(truth),
        normals=TruthNormals(truth),
    )


class _Truth:
    name = "truth"

    def __init__(self, truth: DatasetFolder) -> None:
        self._truth = truth

    def _paths(self, frame: Frame) -> FramePaths:
        return self._truth.paths(frame.frame_id)


class TruthLandmarks(_Truth):
    """The true landmarks."""

    sequential = False

    def faces(self, frame: Frame) -> list[Face]:
        """One face, or none; see `estimators.LandmarkEstimator`."""
        path = self._paths(frame).keypoints
        if not path.exists():
            return []
        keypoints = read_keypoints(path)
        return [
            Face(
                landmarks_px=frame.transform.points_to_output(keypoints.landmarks_px).astype(np.float32),
                depth=np.zeros(N_FACE_LANDMARKS, np.float32),
                confidence=keypoints.confidence,
                mesh_px=np.zeros((0, 3), np.float32),
            )
        ]

    def reset(self) -> None:
        """Nothing is remembered."""


class TruthIris(_Truth):
    """The true irises."""

    def irises(self, frame: Frame, face: Face) -> np.ndarray:
        """float32 [2, 2]; see `estimators.IrisEstimator`."""
        irises = read_keypoints(self._paths(frame).keypoints).iris_px
        found = (irises >= 0).all(axis=1, keepdims=True)
        return np.where(found, frame.transform.points_to_output(irises), IRIS_NOT_FOUND).astype(np.float32)


class TruthMatting(_Truth):
    """The person's true silhouette, without soft edges."""

    sequential = False

    def matte(self, frame: Frame) -> np.ndarray:
        """float32 [H, W], 0 or 1; see `estimators.MattingEstimator`."""
        return (_transformed_labels(frame, self._paths(frame)) != Parsing.BACKGROUND).astype(np.float32)


class TruthParsing(_Truth):
    """The true labels."""

    def parsing(self, frame: Frame, face: Face, matte: np.ndarray) -> np.ndarray:
        """uint8 [H, W]; see `estimators.ParsingEstimator`."""
        return _transformed_labels(frame, self._paths(frame))


class TruthNormals(_Truth):
    """The true normals."""

    def normals(self, frame: Frame, face: Face, segmentation: np.ndarray) -> np.ndarray:
        """float32 [H, W, 3]; see `estimators.NormalEstimator`."""
        path = self._paths(frame).normals
        normals = read_normals(path)
        _check_size(normals, frame, path)
        return frame.transform.apply_to_normals(normals)


def _transformed_labels(frame: Frame, paths: FramePaths) -> np.ndarray:
    labels = read_labels(paths.parsing)
    _check_size(labels, frame, paths.parsing)
    return frame.transform.apply_to_labels(labels)


def _check_size(image: np.ndarray, frame: Frame, path: Path) -> None:
    height, width = image.shape[:2]
    if (height, width) != (frame.transform.h_in, frame.transform.w_in):
        raise UserError(
            f"{path} is {width} x {height}, the video is {frame.transform.w_in} x {frame.transform.h_in}: "
            "truth and video do not belong together"
        )
