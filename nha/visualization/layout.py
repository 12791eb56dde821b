"""Layout of images in rows and grids, with captions."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

CAPTION_HEIGHT = 18
_TEXT_COLOUR, _WHITE = (40, 40, 40), 255
_FONT, _FONT_SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.42


def with_caption(image: np.ndarray, caption: str) -> np.ndarray:
    """Add a line of text above an image.

    Args:
        image: uint8 [H, W, 3].
        caption: ASCII, as OpenCV's fonts have no other characters. Text that is too wide is written smaller.

    Returns:
        uint8 [H + CAPTION_HEIGHT, W, 3].
    """
    strip = np.full((CAPTION_HEIGHT, image.shape[1], 3), _WHITE, np.uint8)
    (width, _), _ = cv2.getTextSize(caption, _FONT, _FONT_SCALE, 1)
    scale = _FONT_SCALE * min(1.0, (image.shape[1] - 4) / max(width, 1))
    cv2.putText(strip, caption, (3, CAPTION_HEIGHT - 5), _FONT, scale, _TEXT_COLOUR, 1, cv2.LINE_AA)
    return np.concatenate([strip, image])


def side_by_side(
    images: Sequence[np.ndarray], captions: Sequence[str] | None = None, gap: int = 0
) -> np.ndarray:
    """Place images in a row, aligned at the top, with white below smaller images.

    Args:
        images: uint8 [H_i, W_i, 3].
        captions: one for each image, or None.
        gap: white pixels between neighbours.

    Returns:
        uint8 [H, W, 3].

    Raises:
        ValueError: there are no images, or the number of captions differs.
    """
    if not images:
        raise ValueError("side_by_side needs at least one image")
    if captions is not None:
        images = [with_caption(p, text) for p, text in zip(images, captions, strict=True)]
    height = max(image.shape[0] for image in images)
    padded = [_on_canvas(p, height, p.shape[1] + gap * (i > 0)) for i, p in enumerate(images)]
    return np.concatenate(padded, axis=1)


def grid(rows: Sequence[Sequence[np.ndarray]], gap: int = 0) -> np.ndarray:
    """Place rows of images below each other, aligned on the left: uint8 [H, W, 3]."""
    strips = [side_by_side(row, gap=gap) for row in rows]
    width = max(strip.shape[1] for strip in strips)
    padded = [
        _on_canvas(strip, strip.shape[0] + gap * (i > 0), width, align_right=False)
        for i, strip in enumerate(strips)
    ]
    return np.concatenate(padded)


def _on_canvas(image: np.ndarray, height: int, width: int, align_right: bool = True) -> np.ndarray:
    """The image on a white canvas, at the top right for rows and at the bottom left for grids."""
    canvas = np.full((height, width, 3), _WHITE, np.uint8)
    h, w = image.shape[:2]
    if align_right:
        canvas[:h, width - w :] = image
    else:
        canvas[height - h :, :w] = image
    return canvas
