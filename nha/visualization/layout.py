"""Pictures beside and below each other, with captions."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

CAPTION_HEIGHT = 18
_INK, _PAPER = (40, 40, 40), 255
_FONT, _FONT_SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.42


def with_caption(picture: np.ndarray, caption: str) -> np.ndarray:
    """The picture with a line of text above it: uint8 [H + CAPTION_HEIGHT, W, 3].

    Text that is too wide is written smaller. OpenCV's fonts know ASCII only.
    """
    strip = np.full((CAPTION_HEIGHT, picture.shape[1], 3), _PAPER, np.uint8)
    (width, _), _ = cv2.getTextSize(caption, _FONT, _FONT_SCALE, 1)
    scale = _FONT_SCALE * min(1.0, (picture.shape[1] - 4) / max(width, 1))
    cv2.putText(strip, caption, (3, CAPTION_HEIGHT - 5), _FONT, scale, _INK, 1, cv2.LINE_AA)
    return np.concatenate([strip, picture])


def side_by_side(
    pictures: Sequence[np.ndarray], captions: Sequence[str] | None = None, gap: int = 0
) -> np.ndarray:
    """Pictures uint8 [H_i, W_i, 3] in a row, tops aligned, white where one is lower: uint8 [H, W, 3].

    captions: one for each, or None for none; gap: white pixels between neighbours.
    Raises ValueError for no picture, or another number of captions.
    """
    if not pictures:
        raise ValueError("side_by_side needs at least one picture")
    if captions is not None:
        pictures = [with_caption(p, text) for p, text in zip(pictures, captions, strict=True)]
    height = max(picture.shape[0] for picture in pictures)
    padded = [_on_paper(p, height, p.shape[1] + gap * (i > 0)) for i, p in enumerate(pictures)]
    return np.concatenate(padded, axis=1)


def grid(rows: Sequence[Sequence[np.ndarray]], gap: int = 0) -> np.ndarray:
    """Rows of pictures below each other, left sides aligned: uint8 [H, W, 3]."""
    strips = [side_by_side(row, gap=gap) for row in rows]
    width = max(strip.shape[1] for strip in strips)
    padded = [
        _on_paper(strip, strip.shape[0] + gap * (i > 0), width, align_right=False)
        for i, strip in enumerate(strips)
    ]
    return np.concatenate(padded)


def _on_paper(picture: np.ndarray, height: int, width: int, align_right: bool = True) -> np.ndarray:
    """The picture on a white sheet; a row's gap lies to its left, a grid's gap above."""
    sheet = np.full((height, width, 3), _PAPER, np.uint8)
    h, w = picture.shape[:2]
    if align_right:
        sheet[:h, width - w :] = picture
    else:
        sheet[height - h :, :w] = picture
    return sheet
