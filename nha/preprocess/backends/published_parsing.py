"""Parsing labels by BiSeNet with 19 classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from nha.preprocess.backends.published_pictures import (
    InputRange,
    frames_at_a_time,
    in_range,
    range_note,
    to_planes01,
)
from nha.preprocess.cleanup import assign_eye_sides
from nha.preprocess.estimators import Face, Frame
from nha.preprocess.networks.mobilenet_v3 import IMAGENET_MEAN, IMAGENET_STD
from nha.preprocess.networks.published import load_published

NETWORK_SIDE_PX = 512
BEHIND_RGB01 = (0.47, 1.0, 0.6)  # the green on which the network sees the person


class BiSeNetParsing:
    """Looks at each frame by itself: the person on green, in a square."""

    def __init__(self, weights: Path, device: torch.device, input_range: InputRange = "plain") -> None:
        self.name = f"BiSeNet-19{range_note(input_range)}"
        self.batch_size = frames_at_a_time(device)
        self._input_range = input_range
        self._device = device
        self._net = load_published("face-parsing", weights).to(device)

    def parsing(self, frame: Frame, face: Face, matte: np.ndarray) -> np.ndarray:
        """uint8 [H, W] labels; see `estimators.ParsingEstimator`."""
        return self.parsing_batch([(frame, face, matte)])[0]

    def parsing_batch(self, inputs: Sequence[tuple[Frame, Face, np.ndarray]]) -> list[np.ndarray]:
        """The labels of several frames of one size."""
        squares = [on_green_square(frame.rgb, matte) for frame, _, matte in inputs]
        labels = self._labels(squares)
        return [
            assign_eye_sides(middle_of(square, frame.rgb.shape), face.landmarks_px)
            for square, (frame, face, _) in zip(labels, inputs, strict=True)
        ]

    @torch.inference_mode()
    def _labels(self, squares: list[np.ndarray]) -> list[np.ndarray]:
        """Most likely labels of pictures [S, S, 3] in 0..255: uint8 [S, S]."""
        rgb01 = to_planes01(squares, self._device)
        size = (NETWORK_SIDE_PX, NETWORK_SIDE_PX)
        if rgb01.shape[2:] != size:
            rgb01 = F.interpolate(rgb01, size, mode="bilinear", align_corners=False, antialias=True)
        mean, std = (rgb01.new_tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
        scores = self._net((in_range(rgb01, self._input_range) - mean) / std)
        labels = scores.argmax(1).to(torch.uint8).cpu().numpy()
        side = squares[0].shape[0]
        return [cv2.resize(each, (side, side), interpolation=cv2.INTER_NEAREST_EXACT) for each in labels]


def on_green_square(rgb: np.ndarray, matte01: np.ndarray) -> np.ndarray:
    """The person on green, in the middle of a square: uint8 [H, W, 3] -> float32 [S, S, 3] in 0..255."""
    green = np.float32(BEHIND_RGB01) * 255
    side = max(rgb.shape[:2])
    square = np.broadcast_to(green, (side, side, 3)).copy()
    middle_of(square, rgb.shape)[:] = green + matte01[..., None] * (rgb - green)
    return square


def middle_of(square: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The part [H, W, ...] in the middle of a square [S, S, ...], S = max(H, W): a view."""
    top, left = ((square.shape[0] - length) // 2 for length in shape[:2])
    return square[top : top + shape[0], left : left + shape[1]]
