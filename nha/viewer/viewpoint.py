"""Cameras of a browser as `Camera`, and back."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import torch

from nha.core.rotations import quaternion
from nha.core.types import Camera

# `Camera` has x to the left and y up, the browser's camera x to the right and y down; both look along +z.
_FLIP = np.array([-1.0, -1.0, 1.0])


@dataclass(frozen=True)
class Viewpoint:
    """A camera without an image size.

    Attributes:
        wxyz: unit quaternion of R in p_world = R p_camera + position, with x right, y down, z into the scene (OpenCV).
        position: metres, world.
        fov_rad: vertical field of view.
    """

    wxyz: tuple[float, float, float, float]
    position: tuple[float, float, float]
    fov_rad: float

    @property
    def axes(self) -> np.ndarray:
        """R, [3, 3]: the columns are right, down and forward in the world."""
        w, x, y, z = np.array(self.wxyz, np.float64) / np.linalg.norm(self.wxyz)
        cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
        return np.eye(3) + 2 * w * cross + 2 * cross @ cross

    def turned(self, angle_rad: float) -> Viewpoint:
        """The viewpoint after a turn to the right about its own vertical axis."""
        return dataclasses.replace(self, wxyz=_quaternion(self.axes @ _turn(angle_rad)))

    def object_turn(self, angle_rad: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """The motion of objects that moves them in the image as the opposite turn of the viewpoint does.

        Returns:
            Unit quaternion (w, x, y, z) and shift in metres of p' = R p + shift.
        """
        rotation = self.axes @ _turn(angle_rad) @ self.axes.T
        shift = np.array(self.position) - rotation @ np.array(self.position)
        return _quaternion(rotation), tuple(shift.tolist())

    def quarter_angle_rad(self, aspect: float) -> float:
        """The angle between the middle of an image and the middle of one of its halves; aspect: width over height."""
        return math.atan(aspect * math.tan(self.fov_rad / 2) / 2)

    def camera(self, image_size: tuple[int, int]) -> Camera:
        """The camera [1] of an image of (height, width) square pixels, with its principal point in the middle."""
        height, width = image_size
        axes = self.axes * _FLIP  # columns: left, up, forward
        shift = -np.array(self.position) @ axes
        focal_px = height / (2 * math.tan(self.fov_rad / 2))
        intrinsics = [[focal_px, 0, width / 2], [0, focal_px, height / 2], [0, 0, 1]]
        return Camera(
            intrinsics=torch.tensor([intrinsics], dtype=torch.float32),
            extrinsics=torch.from_numpy(np.concatenate([axes, shift[:, None]], 1)[None]).float(),
            image_size=(height, width),
        )


def viewpoint_of(camera: Camera) -> Viewpoint:
    """The viewpoint of a camera [1]. An off-centre principal point and a pixel aspect ratio are not kept."""
    axes = camera.extrinsics[0, :, :3].double().cpu().numpy()
    position = -axes @ camera.extrinsics[0, :, 3].double().cpu().numpy()
    focal_px = float(camera.intrinsics[0, 1, 1])
    return Viewpoint(
        wxyz=_quaternion(axes * _FLIP),
        position=tuple(position.tolist()),
        fov_rad=2 * math.atan(camera.image_size[0] / (2 * focal_px)),
    )


def look_from(position: np.ndarray, target: np.ndarray, fov_rad: float) -> Viewpoint:
    """A viewpoint at `position` [3] that looks at `target` [3], metres, with +y up."""
    forward = (target - position) / np.linalg.norm(target - position)
    right = np.cross(forward, [0.0, 1.0, 0.0])
    right = right / np.linalg.norm(right)
    axes = np.stack([right, np.cross(forward, right), forward], 1)
    return Viewpoint(_quaternion(axes), tuple(position.tolist()), fov_rad)


def _turn(angle_rad: float) -> np.ndarray:
    """Columns right, down and forward of a camera [3, 3] that has turned to the right, in its former axes."""
    c, s = math.cos(angle_rad), math.sin(angle_rad)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def _quaternion(axes: np.ndarray) -> tuple[float, float, float, float]:
    return tuple(quaternion(torch.from_numpy(axes)).tolist())
