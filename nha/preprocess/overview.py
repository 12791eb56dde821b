"""Overview image of a frame: its annotations side by side."""

from __future__ import annotations

import cv2
import numpy as np

from nha.core.conventions import LANDMARK_GROUPS, Parsing
from nha.data.dataset_folder import Keypoints

PARSING_COLOURS: dict[Parsing, tuple[int, int, int]] = {
    Parsing.BACKGROUND: (20, 20, 24),
    Parsing.SKIN: (236, 188, 160),
    Parsing.L_BROW: (190, 90, 60),
    Parsing.R_BROW: (120, 60, 170),
    Parsing.L_EYE: (80, 190, 240),
    Parsing.R_EYE: (40, 110, 230),
    Parsing.L_EAR: (240, 170, 60),
    Parsing.R_EAR: (220, 110, 40),
    Parsing.NOSE: (250, 220, 120),
    Parsing.MOUTH: (110, 20, 40),
    Parsing.U_LIP: (230, 70, 110),
    Parsing.L_LIP: (250, 130, 150),
    Parsing.NECK: (170, 200, 130),
    Parsing.NECKLACE: (255, 255, 120),
    Parsing.CLOTH: (90, 130, 110),
    Parsing.HAIR: (120, 80, 50),
    Parsing.HEADWEAR: (200, 60, 200),
}
UNKNOWN_LABEL_COLOUR = (255, 0, 255)
LANDMARK_COLOURS = {
    "jaw": (255, 255, 255),
    "right_brow": (190, 120, 255),
    "left_brow": (255, 160, 110),
    "nose": (255, 230, 100),
    "right_eye": (90, 160, 255),
    "left_eye": (110, 230, 255),
    "outer_mouth": (255, 90, 130),
    "inner_mouth": (255, 170, 190),
}
IRIS_COLOUR = (60, 255, 60)
SCREEN_WIDTH_PX = 1920

_SUBPIXEL_BITS = 4


def side_by_side(
    rgb: np.ndarray, keypoints: Keypoints, parsing: np.ndarray, matte: np.ndarray, normals: np.ndarray
) -> np.ndarray:
    """Image, landmarks and irises, parsing, matte and normals side by side.

    Args:
        rgb: uint8 [H, W, 3].
        keypoints: landmarks and irises in pixels.
        parsing, matte: uint8 [H, W], as in the files.
        normals: uint8 [H, W, 3], as in the file.

    Returns:
        uint8 [H, 5 W, 3], scaled down if it is wider than `SCREEN_WIDTH_PX`.
    """
    grey = cv2.cvtColor(matte, cv2.COLOR_GRAY2RGB)
    panels = np.hstack([rgb, draw_landmarks(rgb, keypoints), colour_labels(parsing), grey, normals])
    height, width = panels.shape[:2]
    if width <= SCREEN_WIDTH_PX:
        return panels
    size = (SCREEN_WIDTH_PX, max(1, round(height * SCREEN_WIDTH_PX / width)))
    return cv2.resize(panels, size, interpolation=cv2.INTER_LINEAR)


def colour_labels(parsing: np.ndarray) -> np.ndarray:
    """Colours of parsing labels: uint8 [H, W] to uint8 [H, W, 3]."""
    colours = np.full((256, 1, 3), UNKNOWN_LABEL_COLOUR, np.uint8)
    for label, colour in PARSING_COLOURS.items():
        colours[label] = colour
    return cv2.LUT(cv2.cvtColor(parsing, cv2.COLOR_GRAY2RGB), colours)


def draw_landmarks(rgb: np.ndarray, keypoints: Keypoints) -> np.ndarray:
    """Draw the 68 landmarks, coloured by group, and the irises on a copy of an image, uint8 [H, W, 3]."""
    canvas = np.ascontiguousarray(rgb.copy())
    radius = max(1.0, max(rgb.shape) / 320)
    for group, colour in LANDMARK_COLOURS.items():
        for point in keypoints.landmarks_px[list(LANDMARK_GROUPS[group])]:
            _dot(canvas, point, radius, colour)
    for point in keypoints.iris_px:
        if (point >= 0).all():
            _dot(canvas, point, 1.5 * radius, IRIS_COLOUR)
    return canvas


def _dot(canvas: np.ndarray, point_px: np.ndarray, radius_px: float, colour: tuple[int, int, int]) -> None:
    factor = 1 << _SUBPIXEL_BITS
    x, y = (round(float(value - 0.5) * factor) for value in point_px)
    cv2.circle(canvas, (x, y), round(radius_px * factor), colour, -1, cv2.LINE_AA, _SUBPIXEL_BITS)
