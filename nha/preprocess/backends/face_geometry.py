"""Geometry on and around a face mesh: masks, the axes of the head, regions of the ears."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from nha.preprocess.backends.mediapipe_mesh import (
    CHIN,
    FOREHEAD_TOP,
    LEFT_CHEEK_EDGE,
    RIGHT_CHEEK_EDGE,
    FaceTopology,
)

# Box that contains an ear, in units of the head height (forehead top to chin) from the edge of the cheek:
# extent backwards, up and down, and outwards.
EAR_BACK, EAR_FRONT = 0.32, 0.0
EAR_UP, EAR_DOWN = 0.19, 0.18
EAR_OUT, EAR_IN = 0.14, 0.0

_SUBPIXEL_BITS = 4


@dataclass(frozen=True)
class HeadAxes:
    """Coordinate frame of the head, measured on the mesh.

    Attributes:
        origin_px: [3], midpoint between the edges of the cheeks.
        left, up, forward: [3] unit vectors in image axes (x right, y down, z away from the camera); left is the
            person's left, forward points out of the face.
        height_px: from the top of the mesh to the chin.
    """

    origin_px: np.ndarray
    left: np.ndarray
    up: np.ndarray
    forward: np.ndarray
    height_px: float

    @classmethod
    def of_mesh(cls, mesh_px: np.ndarray) -> HeadAxes:
        """Measure the axes of a mesh [M, 3]."""
        across = mesh_px[LEFT_CHEEK_EDGE] - mesh_px[RIGHT_CHEEK_EDGE]
        upwards = mesh_px[FOREHEAD_TOP] - mesh_px[CHIN]
        left = across / np.linalg.norm(across)
        up = upwards - left * (upwards @ left)
        up = up / np.linalg.norm(up)
        forward = np.cross(left, up)
        return cls(
            origin_px=(mesh_px[LEFT_CHEEK_EDGE] + mesh_px[RIGHT_CHEEK_EDGE]) / 2,
            left=left,
            up=up,
            forward=forward,
            height_px=float(np.linalg.norm(upwards)),
        )

    @property
    def up_in_image(self) -> tuple[float, float]:
        """The upward axis as a unit vector in the image, (x, y)."""
        x, y = (self.up[:2] / max(float(np.linalg.norm(self.up[:2])), 1e-6)).tolist()
        return x, y

    def height_of(self, x_px, y_px):
        """Height of image points above the origin, in head heights; numbers or arrays."""
        up_x, up_y = self.up_in_image
        origin_x, origin_y = self.origin_px[:2].tolist()
        return ((x_px - origin_x) * up_x + (y_px - origin_y) * up_y) / self.height_px


def fill_outline(outline_px: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Mask of the area inside a closed outline [P, 2], bool [H, W]."""
    mask = np.zeros(shape, np.uint8)
    cv2.fillPoly(mask, [_fixed_point(outline_px)], 1, shift=_SUBPIXEL_BITS)
    return mask > 0


def face_mask(mesh_px: np.ndarray, topology: FaceTopology, shape: tuple[int, int]) -> np.ndarray:
    """Mask of everything that the face mesh covers, eyes and open mouth included, bool [H, W]."""
    mask = surface_mask(mesh_px, topology, shape).view(np.uint8)
    for outline in (topology.right_eye, topology.left_eye, topology.inner_lips):
        cv2.fillPoly(mask, [_fixed_point(mesh_px[outline])], 1, shift=_SUBPIXEL_BITS)
    return mask > 0


def surface_mask(mesh_px: np.ndarray, topology: FaceTopology, shape: tuple[int, int]) -> np.ndarray:
    """Mask of the triangles of the face mesh, without eyes and open mouth, bool [H, W]."""
    mask = np.zeros(shape, np.uint8)
    for triangle in _fixed_point(mesh_px)[topology.triangles]:
        cv2.fillConvexPoly(mask, triangle, 1, shift=_SUBPIXEL_BITS)
    return mask > 0


def _fixed_point(points_px: np.ndarray) -> np.ndarray:
    # The centre of the first pixel is at 0.5 here and at 0 in OpenCV.
    return np.rint((points_px[..., :2] - 0.5) * (1 << _SUBPIXEL_BITS)).astype(np.int32)


def ear_region(mesh_px: np.ndarray, axes: HeadAxes, left_ear: bool, shape: tuple[int, int]) -> np.ndarray:
    """Mask of the region of one ear, bool [H, W]; empty if the head hides it."""
    edge = mesh_px[LEFT_CHEEK_EDGE if left_ear else RIGHT_CHEEK_EDGE]
    outwards = axes.left if left_ear else -axes.left
    if outwards[2] > 0.2:
        return np.zeros(shape, bool)  # turned away from the camera
    corners = [
        edge - axes.forward * back + axes.up * up + outwards * out
        for back in (EAR_BACK * axes.height_px, EAR_FRONT * axes.height_px)
        for up in (EAR_UP * axes.height_px, -EAR_DOWN * axes.height_px)
        for out in (EAR_OUT * axes.height_px, EAR_IN * axes.height_px)
    ]
    hull = cv2.convexHull(np.ascontiguousarray(np.array(corners, np.float32)[:, :2])).reshape(-1, 2)
    return fill_outline(hull, shape)
