"""Outline of the head and regions of the ears in label images: what the tracker compares the mesh's shape with."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import cv2
import numpy as np

from nha.core.conventions import Parsing
from nha.data.dataset_folder import read_labels

# Outlines are taken at this size at most: finer ones cost time, and the labels are not that exact.
LARGEST_SIDE_PX = 384
_OUTSIDE = (Parsing.BACKGROUND, Parsing.CLOTH)
_HAIR = (Parsing.HAIR, Parsing.HEADWEAR)
EARS = {"left_ear": Parsing.L_EAR, "right_ear": Parsing.R_EAR}
_NORMAL_SIGMA_PX = 2.0
_INSIDE_PX = 2.0  # the label of a piece of outline is read so far inside it
_SMALLEST_EAR = 2e-4  # of the image


class Edge(IntEnum):
    """What lies inside a piece of the outline."""

    BARE = 0  # skin of face or neck: the head's surface
    HAIR = 1  # hair or headwear over the head's surface
    LEFT_EAR = 2
    RIGHT_EAR = 3


EAR_EDGES = {"left_ear": Edge.LEFT_EAR, "right_ear": Edge.RIGHT_EAR}


@dataclass(frozen=True)
class Contour:
    """B points of an outline.

    Attributes:
        points_px: [B, 2] centres of the outermost pixels, x right and y down.
        normals: [B, 2] unit vectors, outwards.
    """

    points_px: np.ndarray
    normals: np.ndarray

    def __len__(self) -> int:
        return len(self.points_px)

    @property
    def pixels(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns of the pixels."""
        columns, rows = self.points_px.astype(int).T
        return rows, columns


@dataclass(frozen=True)
class Moments:
    """Mean [2] and covariance [2, 2] of the pixels of a region, and their number."""

    mean: np.ndarray
    covariance: np.ndarray
    area_px: int

    @classmethod
    def of(cls, points_px: np.ndarray) -> Moments:
        """Of points [M, 2]."""
        mean = points_px.mean(0)
        arm = points_px - mean
        # a pixel has an extent of its own: 1/12 is its variance, which keeps narrow regions regular
        return cls(mean, arm.T @ arm / len(points_px) + np.eye(2) / 12, len(points_px))


@dataclass(frozen=True)
class HeadOutline:
    """What a label image shows of a head, in pixels of the image of `size`.

    Attributes:
        contour: pieces of the head's outline against the background; pieces at clothes or at the image's border,
            which do not show where the head ends, are left out.
        edges: [B] of `Edge`.
        ears: moments of the visible ears, by part.
        size: (height, width).
    """

    contour: Contour
    edges: np.ndarray
    ears: dict[str, Moments]
    size: tuple[int, int]


def outline_size(image_size: tuple[int, int]) -> tuple[int, int]:
    """The size at which outlines of an image of (height, width) are compared."""
    scale = min(1.0, LARGEST_SIDE_PX / max(image_size))
    return tuple(max(1, round(side * scale)) for side in image_size)


def read_outline(path: Path, size: tuple[int, int]) -> HeadOutline | None:
    """The outline in a label image, scaled to `size`; None if there is no such file or no head in it."""
    if not path.is_file():
        return None
    labels = cv2.resize(read_labels(path), size[::-1], interpolation=cv2.INTER_NEAREST)
    return outline_of_labels(labels)


def outline_of_labels(labels: np.ndarray) -> HeadOutline | None:
    """The outline of the largest head in labels of `Parsing`, uint8 [H, W]; None if there is none."""
    head = ~np.isin(labels, _OUTSIDE)
    contour = outer_contour(head)
    if contour is None:
        return None
    rows, columns = contour.pixels
    at_cloth = cv2.dilate((labels == Parsing.CLOTH).astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    height, width = labels.shape
    inner = (rows > 1) & (rows < height - 2) & (columns > 1) & (columns < width - 2)
    kept = inner & ~at_cloth[rows, columns]
    contour = Contour(contour.points_px[kept], contour.normals[kept])
    inside = (contour.points_px - _INSIDE_PX * contour.normals).astype(int)
    labels_inside = labels[inside[:, 1].clip(0, height - 1), inside[:, 0].clip(0, width - 1)]
    edges = np.full(len(contour), Edge.BARE)
    edges[np.isin(labels_inside, _HAIR)] = Edge.HAIR
    ears = {}
    for part, label in EARS.items():
        edges[labels_inside == label] = EAR_EDGES[part]
        region = np.argwhere(labels == label)
        if len(region) > _SMALLEST_EAR * labels.size:
            ears[part] = Moments.of(region[:, ::-1] + 0.5)
    return HeadOutline(contour, edges, ears, labels.shape)


def outer_contour(mask: np.ndarray) -> Contour | None:
    """The outer contour of the largest connected region of a mask, bool [H, W]; None if it is empty."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return None
    pixels = max(contours, key=cv2.contourArea)[:, 0]
    blurred = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), _NORMAL_SIGMA_PX)
    across = cv2.Sobel(blurred, cv2.CV_32F, 1, 0)[pixels[:, 1], pixels[:, 0]]
    down = cv2.Sobel(blurred, cv2.CV_32F, 0, 1)[pixels[:, 1], pixels[:, 0]]
    normals = -np.stack([across, down], 1)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    return Contour(pixels + 0.5, normals)
