"""Rules that turn raw estimates into the labels of the dataset (pure functions)."""

from __future__ import annotations

import cv2
import numpy as np

from nha.core.conventions import LANDMARK_GROUPS, Parsing, Segmentation

# Error of the estimated outline of an eye, in units of the width of the eye.
IRIS_TOLERANCE = 0.1
CLOSED_EYE = 0.1  # height over width below which the lids hide the iris


def assign_eye_sides(parsing: np.ndarray, landmarks_px: np.ndarray) -> np.ndarray:
    """Give each connected eye region the side of the closer eye landmarks.

    Parsing networks confuse the eyes when the head turns; landmark detectors do not.

    Args:
        parsing: uint8 [H, W], labels of `Parsing`.
        landmarks_px: [68, 2].

    Returns:
        New labels, uint8 [H, W].
    """
    result = parsing.copy()
    is_eye = np.isin(parsing, (Parsing.L_EYE, Parsing.R_EYE)).astype(np.uint8)
    n_labels, components, _, centres = cv2.connectedComponentsWithStats(is_eye)
    right, left = (
        landmarks_px[list(LANDMARK_GROUPS[name])].mean(axis=0) for name in ("right_eye", "left_eye")
    )
    for component in range(1, n_labels):
        centre = centres[component] + 0.5
        is_right = np.linalg.norm(centre - right) < np.linalg.norm(centre - left)
        result[components == component] = Parsing.R_EYE if is_right else Parsing.L_EYE
    return result


def clean_parsing(parsing: np.ndarray, matte01: np.ndarray, inside: np.ndarray | None = None) -> np.ndarray:
    """Replace headwear by hair, and everything outside of the matte or the video frame by background.

    Args:
        parsing: uint8 [H, W], labels of `Parsing`.
        matte01: [H, W], 0 outside of the person.
        inside: bool [H, W], False on padding.

    Returns:
        New labels, uint8 [H, W].
    """
    result = parsing.copy()
    result[result == Parsing.HEADWEAR] = Parsing.HAIR
    result[matte01 <= 0] = Parsing.BACKGROUND
    if inside is not None:
        result[~inside] = Parsing.BACKGROUND
    return result


def segmentation_from_parsing(parsing: np.ndarray) -> np.ndarray:
    """Head mask from parsing labels: uint8 [H, W] of `Parsing` to uint8 [H, W] of `Segmentation`.

    Everything except background and cloth belongs to the head.
    """
    is_head = (parsing != Parsing.BACKGROUND) & (parsing != Parsing.CLOTH)
    return np.where(is_head, Segmentation.HEAD, Segmentation.BACKGROUND).astype(np.uint8)


def irises_inside_eyes(irises_px: np.ndarray, landmarks_px: np.ndarray) -> np.ndarray:
    """Reject both irises unless each is inside the landmark polygon of its open eye.

    Args:
        irises_px: [2, 2], right then left.
        landmarks_px: [68, 2].

    Returns:
        float32 [2, 2], all -1 if rejected.
    """
    for iris, name in zip(irises_px, ("right_eye", "left_eye"), strict=True):
        outline = landmarks_px[list(LANDMARK_GROUPS[name])].astype(np.float32)
        width_px = float(np.linalg.norm(outline[3] - outline[0]))
        height_px = float(np.linalg.norm(outline[[1, 2]] - outline[[5, 4]], axis=1).mean())
        inside_px = cv2.pointPolygonTest(outline, (float(iris[0]), float(iris[1])), True)
        if height_px < CLOSED_EYE * width_px or inside_px < -IRIS_TOLERANCE * width_px:
            return np.full((2, 2), -1.0, np.float32)
    return irises_px.astype(np.float32)
