"""Helpers for tests of the published estimators: paths of weights, frames, faces and a fake face-alignment."""

from __future__ import annotations

import numpy as np
import torch

from nha.preprocess.crop import identity_transform
from nha.preprocess.estimators import Face, Frame

CPU = torch.device("cpu")
RVM, PARSING, NORMALS = "rvm/rvm_mobilenetv3.pth", "face_parsing/model.pth", "face_normals/model.pth"
FAN_FILES = ("3DFAN4-7835d9f11d.pth.tar", "depth-2a464da4ea.pth.tar", "s3fd-619a316812.pth")

# A stand-in for the package, which is not installed here: it sees bright squares as faces.
FAKE_FACE_ALIGNMENT = """
import cv2
import numpy as np


class LandmarksType:
    TWO_D, TWO_HALF_D, THREE_D = 1, 2, 3


class FaceAlignment:
    made_with = []

    def __init__(self, landmarks_type, **options):
        self.made_with.append((landmarks_type, options))

    def get_landmarks_from_image(self, image, return_bboxes=False):
        bright = (image.max(axis=2) > 130).astype(np.uint8)
        count, _, statistics, _ = cv2.connectedComponentsWithStats(bright)
        squares = [box for box in statistics[1:count] if box[4] > 50]
        if not squares:
            return None, None, None
        shape = np.random.default_rng(3).random((68, 3)).astype(np.float32)
        landmarks = [shape * [box[2], box[3], 7] + [box[0], box[1], 0] for box in squares]
        # the further right, the more certain
        return landmarks, None, [np.float32([*box[:4], box[0] / 100]) for box in squares]
"""


def frame_of(rgb: np.ndarray, frame_id: int = 0) -> Frame:
    return Frame(frame_id, rgb, identity_transform(rgb.shape[1::-1]))


def face_in(left: float, top: float, width: float, height: float, mesh: np.ndarray | None = None) -> Face:
    """A face whose landmarks fill a box; right eye at a third of its width, left eye at two thirds."""
    points = np.random.default_rng(0).random((68, 2)).astype(np.float32)
    points[0], points[1] = 0, 1
    points[36:42] = np.float32([1 / 3, 0.4]) + np.float32([[-0.02, 0], [0, -0.02], [0, 0.02]] * 2)
    points[42:48] = points[36:42] + np.float32([1 / 3, 0])
    landmarks = points * np.float32([width, height]) + np.float32([left, top])
    return Face(
        landmarks,
        np.zeros(68, np.float32),
        np.ones(68, np.float32),
        np.zeros((0, 3)) if mesh is None else mesh,
    )


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)
