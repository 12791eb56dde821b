"""Landmarks of the driving person's face in one image after another."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from nha.core.conventions import N_LANDMARKS
from nha.preprocess.backends.mediapipe_landmarks import MediapipeIris, MediapipeLandmarks
from nha.preprocess.backends.mediapipe_runtime import load_mediapipe
from nha.preprocess.crop import FrameTransform
from nha.preprocess.estimators import Frame
from nha.tracking.reprojection import DetectedLandmarks
from nha.tracking.settings import BatchedSettings

_LARGEST_SIDE_PX = 640  # of the image in which landmarks are searched; the detector's input is smaller still
_LANDMARK_SIGMA = BatchedSettings().landmark_sigma  # of the face's height


@dataclass(frozen=True)
class FaceLandmarks:
    """The landmarks of one face.

    Attributes:
        detected: of one frame, in pixels of the image in which they were searched.
        height_px: extent of the landmarks from the brows to the chin, in the same pixels.
    """

    detected: DetectedLandmarks
    height_px: float


class FaceDetector:
    """Finds the landmarks of the largest face with mediapipe, which follows it from image to image."""

    def __init__(self) -> None:
        """Load the package. Raises UserError where mediapipe is not installed."""
        load_mediapipe()
        self._landmarks = MediapipeLandmarks(max_faces=1, small_faces=False)
        self._iris = MediapipeIris()
        self._number = 0

    def __call__(self, rgb: np.ndarray) -> FaceLandmarks | None:
        """The landmarks in an image uint8 [H, W, 3]; None where no face is found."""
        rgb = shrunk(rgb, _LARGEST_SIDE_PX)
        height, width = rgb.shape[:2]
        unchanged = FrameTransform(width, height, 0, 0, width, height, width, height)
        frame = Frame(self._number, rgb, unchanged)
        self._number += 1
        faces = self._landmarks.faces(frame)
        if not faces:
            return None
        face = max(faces, key=lambda found: found.bounding_box[3] - found.bounding_box[1])
        irises = self._iris.irises(frame, face)
        pixels = np.concatenate([face.landmarks_px, irises])
        confidence = np.concatenate([face.confidence, (irises >= 0).all(1)])
        _, top, _, bottom = face.bounding_box
        return face_landmarks(pixels, confidence, (height, width), bottom - top)

    def reset(self) -> None:
        """Forget the followed face."""
        self._landmarks.reset()

    def close(self) -> None:
        """Free the model."""
        self._landmarks.close()


def face_landmarks(
    landmarks_px: np.ndarray, confidence: np.ndarray, image_size: tuple[int, int], face_height_px: float
) -> FaceLandmarks:
    """The landmarks of one face as the fit takes them.

    Args:
        landmarks_px: [70, 2], the irises last, the right one first.
        confidence: [70] in 0..1, 0 = not found.
        image_size: (height, width).
        face_height_px: extent of the face in pixels.
    """
    return FaceLandmarks(
        DetectedLandmarks(
            landmarks_px=torch.from_numpy(np.float32(landmarks_px)).view(1, N_LANDMARKS, 2),
            confidence=torch.from_numpy(np.float32(confidence)).view(1, N_LANDMARKS),
            image_size=image_size,
            sigma_px=_LANDMARK_SIGMA * face_height_px,
        ),
        height_px=face_height_px,
    )


def shrunk(rgb: np.ndarray, largest_side_px: int) -> np.ndarray:
    """An image [H, W, 3] with at most `largest_side_px` on its longer side; smaller ones are not changed."""
    scale = largest_side_px / max(rgb.shape[:2])
    if scale >= 1:
        return rgb
    size = max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale))
    return cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
