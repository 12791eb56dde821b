"""Where the pixels of an image lie relative to a known face."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from nha.preprocess.backends.face_geometry import HeadAxes

UNDER_JAW = -0.25  # height in `FaceSurroundings`

# Positions and colours are evaluated at this size; only the smoothing uses every pixel.
WORKING_EDGE_PX = 256


@dataclass(frozen=True)
class FaceSurroundings:
    """Positions of pixels relative to the face; all maps are [h, w] at working size, lengths in head heights.

    Attributes:
        foreground, face, ear: bool masks.
        rim: bool, foreground pixels that touch the background.
        outside, inside: distance to the outline of the face for pixels outside and inside of it, else 0.
        height: position along the upward axis of the head, 0 midway between the edges of the cheeks.
        sideways: distance to that axis.
        below_chin: distance below the chin, vertical in the image because shoulders do not move with the head.
        brow_height: upper end of the brows, in the units of `height`.
        under_hair: bool, pixels below the jaw that have the head beside or above the face in their column: where long
            hair may hang, from either side of the face or, in profile, from its back.
    """

    foreground: np.ndarray
    rim: np.ndarray
    face: np.ndarray
    outside: np.ndarray
    inside: np.ndarray
    height: np.ndarray
    sideways: np.ndarray
    below_chin: np.ndarray
    ear: np.ndarray
    brow_height: float
    under_hair: np.ndarray


def working_size(shape: tuple[int, ...]) -> tuple[int, int]:
    """(width, height) at which positions and colours of an image [H, W, ...] are evaluated."""
    factor = min(1.0, WORKING_EDGE_PX / max(shape[:2]))
    return max(1, round(shape[1] * factor)), max(1, round(shape[0] * factor))


def measure_surroundings(
    foreground: np.ndarray,
    face: np.ndarray,
    ear: np.ndarray,
    axes: HeadAxes,
    chin_px: np.ndarray,
    brow_top_px: np.ndarray,
) -> FaceSurroundings:
    """Measure `FaceSurroundings`.

    Args:
        foreground, face, ear: bool [H, W].
        axes: axes of the head.
        chin_px, brow_top_px: [2], in pixels of the full image.
    """
    cell_px = face.shape[1] / working_size(face.shape)[0]
    foreground, face, ear = (to_working_size(mask) for mask in (foreground, face, ear))
    rows, columns = (np.mgrid[: face.shape[0], : face.shape[1]].astype(np.float32) + 0.5) * np.float32(
        cell_px
    )
    up_x, up_y = axes.up_in_image
    chin_x, chin_y = chin_px.tolist()

    def distance(mask):
        return cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3) * (cell_px / axes.height_px)

    height = axes.height_of(columns, rows)
    root = foreground & ~face & (height > UNDER_JAW)
    return FaceSurroundings(
        foreground=foreground,
        rim=foreground & (cv2.erode(foreground.astype(np.uint8), np.ones((3, 3), np.uint8)) == 0),
        face=face,
        outside=distance(~face),
        inside=distance(face),
        height=height,
        sideways=np.abs((rows - chin_y) * up_x - (columns - chin_x) * up_y) / axes.height_px,
        below_chin=(rows - chin_y) / axes.height_px,
        ear=ear,
        brow_height=axes.height_of(*brow_top_px.tolist()),
        under_hair=np.logical_or.accumulate(root, axis=0) & (height <= UNDER_JAW),
    )


def to_working_size(mask: np.ndarray) -> np.ndarray:
    """A bool mask [H, W] at working size."""
    return (
        cv2.resize(mask.astype(np.uint8) * 255, working_size(mask.shape), interpolation=cv2.INTER_AREA) > 127
    )
