"""Distance between the landmarks that a face detector finds in the prediction and in the true image."""

from __future__ import annotations

import importlib.util

import numpy as np
import torch
from torch import Tensor

from nha.core.optional_files import optional_file
from nha.preprocess.backends.face_alignment_landmarks import FaceAlignmentLandmarks
from nha.preprocess.backends.mediapipe_landmarks import MediapipeLandmarks
from nha.preprocess.backends.mediapipe_runtime import load_mediapipe
from nha.preprocess.crop import identity_transform
from nha.preprocess.estimators import Frame, LandmarkEstimator
from nha.visualization.colours import to_uint8


class LandmarkDistance:
    """Mean distance in pixels of 68 landmarks, [N]; NaN where the detector finds no face in one of the images.

    The same detector is used for both images, so that its systematic errors cancel.

    Args:
        detector: finds faces in one image at a time.
    """

    def __init__(self, detector: LandmarkEstimator) -> None:
        self.detector = detector

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the distances of the N images; prediction, target: [N, 3, H, W] rgb01."""
        distances = [
            _mean_distance(self._landmarks(to_uint8(first)), self._landmarks(to_uint8(second)))
            for first, second in zip(prediction, target, strict=True)
        ]
        return torch.tensor(distances)

    def _landmarks(self, rgb: np.ndarray) -> np.ndarray | None:
        height, width = rgb.shape[:2]
        faces = self.detector.faces(Frame(0, rgb, identity_transform((width, height))))
        largest = max(faces, key=lambda face: np.ptp(face.landmarks_px, axis=0).prod(), default=None)
        return None if largest is None else largest.landmarks_px


def _mean_distance(first: np.ndarray | None, second: np.ndarray | None) -> float:
    if first is None or second is None:
        return float("nan")
    return float(np.linalg.norm(first - second, axis=1).mean())


def landmark_detector(device: torch.device) -> LandmarkEstimator:
    """Open face-alignment if its package and weights are installed, else MediaPipe; frames are processed independently.

    Raises:
        UserError: if MediaPipe, which both need, is not installed.
    """
    load_mediapipe()
    meshes = MediapipeLandmarks(follow=False)
    if importlib.util.find_spec("face_alignment") and not optional_file("face-alignment").missing():
        return FaceAlignmentLandmarks(device, meshes, need_mesh=False)
    return meshes
