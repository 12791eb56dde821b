"""Estimators that read the ground truth of a synthetic video.

Next to the video is a folder `truth` with the layout of a dataset folder, at the size of the video frames:

    DIR/video.mp4
    DIR/truth/frame_0000/keypoints_static_0000.json   landmarks, irises (-1 if hidden), confidence
    DIR/truth/frame_0000/parsing_0000.png             labels
    DIR/truth/frame_0000/normals_0000.png             camera-space normals

A frame without a keypoints file has no face. All annotations go through the same crop, padding and scaling as
the frames, labels with nearest-neighbour interpolation. The matte is 1 where the parsing is not background.
Landmarks get depth 0, because nothing uses it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nha.core.conventions import N_FACE_LANDMARKS, Parsing
from nha.core.errors import UserError
from nha.data.dataset_folder import DatasetFolder, FramePaths, read_keypoints, read_labels, read_normals
from nha.preprocess.estimators import (
    IRIS_NOT_FOUND,
    Estimator,
    EstimatorContext,
    Face,
    Frame,
    IrisEstimator,
    LandmarkEstimator,
    MattingEstimator,
    NormalEstimator,
    ParsingEstimator,
)

if TYPE_CHECKING:
    from typing_extensions import Self

TRUTH_FOLDER = "truth"


class _Truth(Estimator):
    name = "truth"

    def __init__(self, truth: DatasetFolder) -> None:
        self._truth = truth

    @classmethod
    def create(cls, context: EstimatorContext) -> Self:
        """Raises UserError if there is no ground truth next to the video; see `Estimator.create`."""
        folder = context.options.video.parent / TRUTH_FOLDER
        truth = DatasetFolder(folder)
        if not truth.frame_ids():
            raise UserError(
                f"no ground truth in '{folder}': only videos of `nha synthetic` have it; "
                "use --estimators mediapipe"
            )
        return cls(truth)

    def _paths(self, frame: Frame) -> FramePaths:
        return self._truth.paths(frame.frame_id)


class TruthLandmarks(_Truth, LandmarkEstimator):
    """The true landmarks."""

    def faces(self, frame: Frame) -> list[Face]:
        """One face, or none; see `LandmarkEstimator.faces`."""
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


class TruthIris(_Truth, IrisEstimator):
    """The true irises."""

    def irises(self, frame: Frame, face: Face) -> np.ndarray:
        """See `IrisEstimator.irises`."""
        irises = read_keypoints(self._paths(frame).keypoints).iris_px
        found = (irises >= 0).all(axis=1, keepdims=True)
        return np.where(found, frame.transform.points_to_output(irises), IRIS_NOT_FOUND).astype(np.float32)


class TruthMatting(_Truth, MattingEstimator):
    """The true silhouette of the person, without soft edges."""

    def matte(self, frame: Frame) -> np.ndarray:
        """Either 0 or 1; see `MattingEstimator.matte`."""
        return (_transformed_labels(frame, self._paths(frame)) != Parsing.BACKGROUND).astype(np.float32)


class TruthParsing(_Truth, ParsingEstimator):
    """The true labels."""

    def parsing(self, frame: Frame, face: Face, matte: np.ndarray) -> np.ndarray:
        """See `ParsingEstimator.parsing`."""
        return _transformed_labels(frame, self._paths(frame))


class TruthNormals(_Truth, NormalEstimator):
    """The true normals."""

    def normals(self, frame: Frame, face: Face, segmentation: np.ndarray) -> np.ndarray:
        """See `NormalEstimator.normals`."""
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
            "truth and video do not belong together; make the synthetic video again"
        )
