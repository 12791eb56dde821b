"""How far a face detector's landmarks on the prediction are from those that it finds on the true picture."""

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
    """Mean distance in pixels of 68 landmarks, [N]; NaN where the detector finds no face in one of the pictures.

    Both pictures are shown to the same detector, as what it gets wrong with this face it gets wrong in both.
    """

    def __init__(self, detector: LandmarkEstimator) -> None:
        self.detector = detector

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        """prediction, target: [N, 3, H, W] rgb01."""
        distances = [
            _mean_distance(self._find(to_uint8(ours)), self._find(to_uint8(theirs)))
            for ours, theirs in zip(prediction, target, strict=True)
        ]
        return torch.tensor(distances)

    def _find(self, rgb: np.ndarray) -> np.ndarray | None:
        height, width = rgb.shape[:2]
        faces = self.detector.faces(Frame(0, rgb, identity_transform((width, height))))
        largest = max(faces, key=lambda face: np.ptp(face.landmarks_px, axis=0).prod(), default=None)
        return None if largest is None else largest.landmarks_px


def _mean_distance(ours: np.ndarray | None, theirs: np.ndarray | None) -> float:
    if ours is None or theirs is None:
        return float("nan")
    return float(np.linalg.norm(ours - theirs, axis=1).mean())


def landmark_detector(device: torch.device) -> LandmarkEstimator:
    """face-alignment where package and weights are there, else mediapipe; frames are looked at one by one.

    Raises UserError where mediapipe, which both need, is not installed.
    """
    load_mediapipe()
    meshes = MediapipeLandmarks(follow=False)
    if importlib.util.find_spec("face_alignment") and not optional_file("face-alignment").missing():
        return FaceAlignmentLandmarks(device, meshes, need_mesh=False)
    return meshes
