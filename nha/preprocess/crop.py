"""Crop, padding and scaling: one transform for all frames of a video, recorded in `transforms.json`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

import cv2
import numpy as np

from nha.core.errors import UserError

PAD_COLOUR = (255, 255, 255)  # the method's background

# Extent of a head beyond the bounding box of its 68 landmarks (brows to chin, ear to ear), in units of the box.
HEAD_MARGIN_TOP, HEAD_MARGIN_SIDE, HEAD_MARGIN_BOTTOM = 0.9, 0.5, 0.6

_LARGEST_PX = 1 << 20  # of sizes and positions that are read from a file


@dataclass(frozen=True)
class FrameTransform:
    """Cuts a box out of a video frame and scales it.

    Pixels are counted from the top left corner; the centre of the first one is at 0.5.

    Attributes:
        w_in, h_in: size of the video frame in pixels.
        crop_x, crop_y, crop_w, crop_h: the box in pixels of the video frame. It may extend beyond the frame; that
            part is filled with white (padding).
        w_out, h_out: size of the box after scaling, in pixels.
    """

    w_in: int
    h_in: int
    crop_x: int
    crop_y: int
    crop_w: int
    crop_h: int
    w_out: int
    h_out: int

    @property
    def scale(self) -> np.ndarray:
        """Output pixels per input pixel, [2]; x and y differ only because the output size is rounded."""
        return np.array([self.w_out / self.crop_w, self.h_out / self.crop_h])

    def points_to_output(self, points_px: np.ndarray) -> np.ndarray:
        """Map points [..., 2] in pixels from the video frame to the dataset image."""
        return (points_px - np.array([self.crop_x, self.crop_y])) * self.scale

    def apply_to_rgb(self, rgb: np.ndarray) -> np.ndarray:
        """Transform an image, uint8 [h_in, w_in, 3] to [h_out, w_out, 3]."""
        shrinks = self.w_out < self.crop_w
        return self._resize(self._crop(rgb, PAD_COLOUR), cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)

    def apply_to_matte(self, matte: np.ndarray) -> np.ndarray:
        """Transform a matte, uint8 [h_in, w_in] to [h_out, w_out]; padding is 0."""
        shrinks = self.w_out < self.crop_w
        return self._resize(self._crop(matte, 0), cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)

    def apply_to_labels(self, labels: np.ndarray) -> np.ndarray:
        """Transform labels, uint8 [h_in, w_in] to [h_out, w_out], by nearest neighbour; padding is 0."""
        return self._resize(self._crop(labels, 0), cv2.INTER_NEAREST_EXACT)

    def apply_to_normals(self, normals: np.ndarray) -> np.ndarray:
        """Transform normals, float32 [h_in, w_in, 3] to [h_out, w_out, 3] of length 1; 0 where unknown."""
        cropped = self._crop(normals, (0, 0, 0))
        known = self._resize((np.abs(cropped).max(axis=2) > 0).astype(np.uint8), cv2.INTER_NEAREST_EXACT)
        resized = self._resize(cropped, cv2.INTER_LINEAR)
        length = np.linalg.norm(resized, axis=2, keepdims=True)
        return np.where(known[..., None] > 0, resized / np.maximum(length, 1e-6), 0.0).astype(np.float32)

    def inside_image(self) -> np.ndarray:
        """Mask of the video frame in the dataset image, bool [h_out, w_out]: False on padding."""
        return self.apply_to_labels(np.ones((self.h_in, self.w_in), np.uint8)) > 0

    def to_json(self) -> dict[str, int]:
        """The content of `transforms.json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict) -> FrameTransform:
        """The inverse of `to_json`. Raises UserError if a number is missing, not an integer or out of its range."""
        try:
            numbers = {field.name: int(content[field.name]) for field in fields(cls)}
            if max(map(abs, numbers.values())) > _LARGEST_PX:
                raise ValueError("a number beyond any image")
            if any(numbers[name] < 1 for name in ("w_in", "h_in", "crop_w", "crop_h", "w_out", "h_out")):
                raise ValueError("a size that is not positive")
            return cls(**numbers)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise UserError(
                f"transforms.json does not have the expected format ({error}); choose another output folder"
            ) from error

    def _crop(self, image: np.ndarray, pad_value: Sequence[int] | int) -> np.ndarray:
        if image.shape[:2] != (self.h_in, self.w_in):
            raise ValueError(f"image is {image.shape[:2]}, the transform is for {(self.h_in, self.w_in)}")
        left, top = max(0, -self.crop_x), max(0, -self.crop_y)
        right = max(0, self.crop_x + self.crop_w - self.w_in)
        bottom = max(0, self.crop_y + self.crop_h - self.h_in)
        if left or top or right or bottom:
            image = cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=pad_value)
        y, x = self.crop_y + top, self.crop_x + left
        return image[y : y + self.crop_h, x : x + self.crop_w]

    def _resize(self, image: np.ndarray, interpolation: int) -> np.ndarray:
        if image.shape[:2] == (self.h_out, self.w_out):
            return np.ascontiguousarray(image)
        return cv2.resize(image, (self.w_out, self.h_out), interpolation=interpolation)


def plan_transform(
    video_size: tuple[int, int],
    longer_edge: int,
    force_square: bool = False,
    head_boxes: Sequence[Sequence[float]] | None = None,
) -> FrameTransform:
    """Choose the transform of a video.

    Args:
        video_size: (width, height) in pixels.
        longer_edge: longer edge of the result in pixels.
        force_square: make the result square, by including more of the frame if possible, otherwise by padding.
        head_boxes: bounding boxes of the landmarks (left, top, right, bottom) in pixels of the video frame; the
            result contains the head of each. None keeps the whole frame.
    """
    width, height = video_size
    if head_boxes is None:
        left, top, right, bottom = 0, 0, width, height
    else:
        left, top, right, bottom = box_around_heads(np.asarray(head_boxes, float), video_size)
    if force_square:
        side = max(right - left, bottom - top)
        left, right = _grow(left, right, side, width)
        top, bottom = _grow(top, bottom, side, height)
    scale = longer_edge / max(right - left, bottom - top)
    return FrameTransform(
        w_in=width,
        h_in=height,
        crop_x=left,
        crop_y=top,
        crop_w=right - left,
        crop_h=bottom - top,
        w_out=max(1, round((right - left) * scale)),
        h_out=max(1, round((bottom - top) * scale)),
    )


def identity_transform(video_size: tuple[int, int]) -> FrameTransform:
    """The transform that does not change frames of size (width, height)."""
    return plan_transform(video_size, max(video_size))


def box_around_heads(face_boxes: np.ndarray, video_size: tuple[int, int]) -> tuple[int, int, int, int]:
    """One box for all frames, which contains the head wherever it moves: left, top, right and bottom in pixels.

    Args:
        face_boxes: [N, 4], bounding boxes of the landmarks.
        video_size: (width, height); the box ends at the border of the frame.
    """
    face_width = face_boxes[:, 2] - face_boxes[:, 0]
    face_height = face_boxes[:, 3] - face_boxes[:, 1]
    left = (face_boxes[:, 0] - HEAD_MARGIN_SIDE * face_width).min()
    right = (face_boxes[:, 2] + HEAD_MARGIN_SIDE * face_width).max()
    top = (face_boxes[:, 1] - HEAD_MARGIN_TOP * face_height).min()
    bottom = (face_boxes[:, 3] + HEAD_MARGIN_BOTTOM * face_height).max()
    width, height = video_size
    return (
        int(np.clip(np.floor(left), 0, width - 1)),
        int(np.clip(np.floor(top), 0, height - 1)),
        int(np.clip(np.ceil(right), 1, width)),
        int(np.clip(np.ceil(bottom), 1, height)),
    )


def _grow(low: int, high: int, length: int, limit: int) -> tuple[int, int]:
    """Extend low..high to `length` around its centre, within 0..limit if possible."""
    low = low - (length - (high - low)) // 2
    if length <= limit:
        low = min(max(low, 0), limit - length)
    else:
        low = -((length - limit) // 2)
    return low, low + length
