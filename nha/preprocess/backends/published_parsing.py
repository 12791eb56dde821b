"""Published parsing: BiSeNet with 19 classes."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from nha.preprocess.cleanup import assign_eye_sides
from nha.preprocess.estimators import Face, Frame, ParsingEstimator
from nha.preprocess.networks.mobilenet_v3 import IMAGENET_MEAN, IMAGENET_STD
from nha.preprocess.networks.published import PublishedEstimator, to_batch01

NETWORK_SIDE_PX = 512
BACKGROUND_RGB01 = (0.47, 1.0, 0.6)  # green


class BiSeNetParsing(PublishedEstimator, ParsingEstimator):
    """Parsing of single frames, which the network receives as squares with a green background."""

    title = "BiSeNet-19"
    network = "face-parsing"

    def parsing(self, frame: Frame, face: Face, matte: np.ndarray) -> np.ndarray:
        """See `ParsingEstimator.parsing`."""
        return self.parsing_batch([(frame, face, matte)])[0]

    def parsing_batch(self, inputs: Sequence[tuple[Frame, Face, np.ndarray]]) -> list[np.ndarray]:
        """`parsing` of several frames of one size."""
        squares = [square_on_green(frame.rgb, matte) for frame, _, matte in inputs]
        labels = self._labels(squares)
        return [
            assign_eye_sides(centre_of(square, frame.rgb.shape), face.landmarks_px)
            for square, (frame, face, _) in zip(labels, inputs, strict=True)
        ]

    @torch.inference_mode()
    def _labels(self, squares: list[np.ndarray]) -> list[np.ndarray]:
        """Most likely labels, uint8 [S, S] each, of images [S, S, 3] in 0..255."""
        rgb01 = to_batch01(squares, self._device)
        size = (NETWORK_SIDE_PX, NETWORK_SIDE_PX)
        if rgb01.shape[2:] != size:
            rgb01 = F.interpolate(rgb01, size, mode="bilinear", align_corners=False, antialias=True)
        mean, std = (rgb01.new_tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
        scores = self._net((self._in_range(rgb01) - mean) / std)
        labels = scores.argmax(1).to(torch.uint8).cpu().numpy()
        side = squares[0].shape[0]
        return [cv2.resize(each, (side, side), interpolation=cv2.INTER_NEAREST_EXACT) for each in labels]


def square_on_green(rgb: np.ndarray, matte01: np.ndarray) -> np.ndarray:
    """The person in front of green, centred in a square: uint8 [H, W, 3] to float32 [S, S, 3] in 0..255."""
    green = np.float32(BACKGROUND_RGB01) * 255
    side = max(rgb.shape[:2])
    square = np.broadcast_to(green, (side, side, 3)).copy()
    centre_of(square, rgb.shape)[:] = green + matte01[..., None] * (rgb - green)
    return square


def centre_of(square: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The centre [H, W, ...] of a square [S, S, ...], S = max(H, W), as a view."""
    top, left = ((square.shape[0] - length) // 2 for length in shape[:2])
    return square[top : top + shape[0], left : left + shape[1]]
