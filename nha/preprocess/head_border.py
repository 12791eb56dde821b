"""The border of the head mask, moved by up to a pixel to where colours change from the head to what is behind it."""

from __future__ import annotations

import cv2
import numpy as np

from nha.preprocess.cleanup import segmentation_from_parsing

# Distance from the border, in pixels, at which a colour is that of one side alone. Compression blurs over two pixels.
UNMIXED_PX = 3.0
SMOOTHING_PX = 1.0  # of the signed distance, whose gradient is the direction across the border
LEAST_CONTRAST = 0.05  # squared distance of the two colours in 0..1 below which they cannot be told apart


def refine_head_border(labels: np.ndarray, rgb: np.ndarray) -> np.ndarray:
    """Decide for each pixel at the border of the head whether head or surroundings make up most of its colour.

    A pixel at the border mixes two colours, which stand unmixed a few pixels away on either side. It belongs to
    the side whose colour is nearer. Only the outermost row of pixels on either side can change.

    Args:
        labels: uint8 [H, W], labels of `Parsing`.
        rgb: uint8 [H, W, 3].

    Returns:
        New labels, uint8 [H, W]; a changed pixel has the label that the other side has there.
    """
    head = (segmentation_from_parsing(labels) > 0).astype(np.uint8)
    if not head.any() or head.all():
        return labels.copy()
    inside, outside = (cv2.distanceTransform(mask, cv2.DIST_L2, 5) for mask in (head, 1 - head))
    rows, columns = np.nonzero(np.where(head, inside, outside) <= 1)
    position = cv2.GaussianBlur(np.where(head, inside - 0.5, 0.5 - outside), (0, 0), SMOOTHING_PX)
    into_head = [
        cv2.Sobel(position, cv2.CV_32F, *order, ksize=3)[rows, columns] for order in ((0, 1), (1, 0))
    ]
    length = np.maximum(np.hypot(*into_head), 1e-6)
    here = position[rows, columns]

    def pixels_at(distance_px: float) -> tuple[np.ndarray, np.ndarray]:
        """The pixels at a signed distance from the border, straight across it."""
        step = (distance_px - here) / length
        return tuple(
            np.clip(np.rint(start + step * direction), 0, end - 1).astype(np.intp)
            for start, direction, end in zip((rows, columns), into_head, labels.shape, strict=True)
        )

    in_head, behind = pixels_at(UNMIXED_PX), pixels_at(-UNMIXED_PX)
    colours01 = rgb.astype(np.float32) / 255
    contrast = colours01[in_head] - colours01[behind]
    squared = (contrast**2).sum(-1)
    # the share of the head in the pixel's colour, times `squared`
    share = ((colours01[rows, columns] - colours01[behind]) * contrast).sum(-1)
    is_known = (squared > LEAST_CONTRAST) & (head[in_head] > head[behind])
    was_head = head[rows, columns] > 0
    is_head = np.where(is_known, share > squared / 2, was_head)
    result = labels.copy()
    for side, pixels in ((True, in_head), (False, behind)):
        changed = (is_head == side) & (was_head != side)
        result[rows[changed], columns[changed]] = labels[pixels][changed]
    return result
