"""Decoding of image files."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from nha.core.image_header import claimed_pixels, is_cut_png
from nha.core.plain_file import LARGEST_IMAGE_BYTES, read_plain

# A small file may claim to hold an image that fills the memory.
LARGEST_PIXELS = 100_000_000


def decode_image(path: str | Path, flags: int) -> np.ndarray | None:
    """Decode an image with OpenCV.

    Args:
        path: the file.
        flags: `cv2.IMREAD_COLOR` and others.

    Returns:
        The image, BGR where it has colours; None for a file that is no PNG, JPEG, WebP, BMP or TIFF, is cut off, or
        claims more than `LARGEST_PIXELS`.

    Raises:
        OSError: the file cannot be read, or is no regular file.
    """
    encoded = read_plain(path, LARGEST_IMAGE_BYTES)
    if not 0 < claimed_pixels(encoded) <= LARGEST_PIXELS or is_cut_png(encoded):
        return None
    try:
        return cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
    except cv2.error:  # more pixels than OpenCV takes
        return None
