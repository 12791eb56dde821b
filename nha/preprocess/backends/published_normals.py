"""Published normals of the face: ResNetUNet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from nha.preprocess.estimators import Face, Frame, NormalEstimator
from nha.preprocess.networks.published import PublishedEstimator, to_batch01

NETWORK_SIDE_PX = 256
BOX_SIZE = 1.2  # of the landmarks' larger extent


@dataclass(frozen=True)
class SquareBox:
    """A square in an image, in whole pixels; it may extend beyond the image."""

    left: int
    top: int
    side: int

    @classmethod
    def around(cls, landmarks_px: np.ndarray) -> SquareBox:
        """A square of 1.2 times the larger extent of the landmarks, around their centre."""
        low, high = landmarks_px.min(axis=0), landmarks_px.max(axis=0)
        side = max(1, round(BOX_SIZE * float((high - low).max())))
        left, top = (round(float(centre) - side / 2) for centre in (low + high) / 2)
        return cls(left, top, side)

    def cut_out(self, rgb: np.ndarray) -> np.ndarray:
        """The content of the box, float32 [256, 256, 3] in 0..255; border pixels are repeated outside the image."""
        height, width = rgb.shape[:2]
        rows = np.clip(np.arange(self.top, self.top + self.side), 0, height - 1)
        columns = np.clip(np.arange(self.left, self.left + self.side), 0, width - 1)
        box = rgb[rows[:, None], columns].astype(np.float32)
        return np.clip(cv2.resize(box, (NETWORK_SIDE_PX,) * 2, interpolation=cv2.INTER_CUBIC), 0, 255)

    def paste(self, normals: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """Paste normals [256, 256, 3] into an image: float32 [H, W, 3] of length 1, 0 outside of the box."""
        method = cv2.INTER_AREA if self.side < NETWORK_SIDE_PX else cv2.INTER_LINEAR
        box = unit_length(cv2.resize(normals, (self.side, self.side), interpolation=method))
        image = np.zeros((*shape, 3), np.float32)
        top, left = max(self.top, 0), max(self.left, 0)
        bottom, right = min(self.top + self.side, shape[0]), min(self.left + self.side, shape[1])
        if top < bottom and left < right:
            inside = box[top - self.top : bottom - self.top, left - self.left : right - self.left]
            image[top:bottom, left:right] = inside
        return image


class ResNetUNetNormals(PublishedEstimator, NormalEstimator):
    """Normals of the face in single frames."""

    title = "ResNetUNet face normals"
    network = "face-normals"

    def normals(self, frame: Frame, face: Face, segmentation: np.ndarray) -> np.ndarray:
        """See `NormalEstimator.normals`."""
        return self.normals_batch([(frame, face, segmentation)])[0]

    def normals_batch(self, inputs: Sequence[tuple[Frame, Face, np.ndarray]]) -> list[np.ndarray]:
        """`normals` of several frames."""
        boxes = [SquareBox.around(face.landmarks_px) for _, face, _ in inputs]
        cut_out = [box.cut_out(frame.rgb) for box, (frame, _, _) in zip(boxes, inputs, strict=True)]
        return [
            box.paste(normals, segmentation.shape) * (segmentation > 0)[..., None]
            for box, normals, (_, _, segmentation) in zip(boxes, self._run(cut_out), inputs, strict=True)
        ]

    @torch.inference_mode()
    def _run(self, cut_out: list[np.ndarray]) -> np.ndarray:
        """Unit normals [N, 256, 256, 3] of images in 0..255: x right, y down, z towards the camera."""
        rgb01 = self._in_range(to_batch01(cut_out, self._device))
        y_up = self._net(rgb01).permute(0, 2, 3, 1).cpu().numpy()
        return unit_length(y_up * np.float32([1, -1, 1]))


def unit_length(vectors: np.ndarray) -> np.ndarray:
    """Normalise vectors [..., 3] to length 1; vectors of length 0 stay 0."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-6)
