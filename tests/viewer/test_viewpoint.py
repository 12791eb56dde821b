"""Cameras of a browser: compared with OpenCV's projection, and converted back."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from nha.core.types import Camera
from nha.render.camera import project
from nha.viewer.viewpoint import Viewpoint, look_from, viewpoint_of


@pytest.fixture
def viewpoint() -> Viewpoint:
    turn = Rotation.from_euler("xyz", [10, -25, 8], degrees=True)
    x, y, z, w = turn.as_quat()
    return Viewpoint((w, x, y, z), (0.2, -0.1, -0.3), math.radians(35))


def test_projects_as_opencv_does(viewpoint):
    rng = np.random.default_rng(0)
    ahead = viewpoint.axes @ (rng.uniform(-0.2, 0.2, (3, 50)) + np.array([[0], [0], [1]]))
    points = (ahead.T + viewpoint.position).astype(np.float32)
    ours = project(torch.from_numpy(points)[None], viewpoint.camera((480, 640)))[0].numpy()
    world_to_camera = viewpoint.axes.T
    focal = 240 / math.tan(viewpoint.fov_rad / 2)
    matrix = np.array([[focal, 0, 320], [0, focal, 240], [0, 0, 1]])
    shift = -world_to_camera @ np.array(viewpoint.position)
    theirs, _ = cv2.projectPoints(
        points.astype(np.float64), cv2.Rodrigues(world_to_camera)[0], shift, matrix, None
    )
    assert np.abs(ours[:, :2] - theirs[:, 0]).max() < 1e-2
    assert np.allclose(ours[:, 2], (points - np.array(viewpoint.position)) @ viewpoint.axes[:, 2], atol=1e-5)


def test_conversion_back(viewpoint):
    back = viewpoint_of(viewpoint.camera((300, 500)))
    assert np.allclose(back.axes, viewpoint.axes, atol=1e-6)
    assert np.allclose(back.position, viewpoint.position, atol=1e-6)
    assert back.fov_rad == pytest.approx(viewpoint.fov_rad, rel=1e-5)


def test_a_trackers_camera_is_converted_back(tracking):
    camera = tracking.camera_for([0], tracking.image_size)
    back = viewpoint_of(camera).camera(tracking.image_size)
    for name in ("intrinsics", "extrinsics"):
        assert torch.allclose(getattr(back, name), getattr(camera, name), atol=1e-3, rtol=1e-5), name
    assert isinstance(back, Camera)


def test_looks_at_its_target_and_stands_upright():
    target = np.array([0.1, 0.2, 1.0])
    view = look_from(np.array([0.8, 0.5, 0.2]), target, math.radians(30))
    u, v, depth = project(torch.from_numpy(target).float()[None, None], view.camera((100, 200)))[
        0, 0
    ].tolist()
    assert (u, v) == pytest.approx((100, 50), abs=1e-2)
    assert depth == pytest.approx(np.linalg.norm(target - view.position), rel=1e-4)
    above = project(torch.from_numpy(target + [0, 0.01, 0]).float()[None, None], view.camera((100, 200)))[
        0, 0
    ]
    assert above[0] == pytest.approx(100, abs=1e-2)
    assert above[1] < 49.9  # up in the world is up in the image


def test_a_turn_of_the_camera_and_of_the_object_move_the_image_by_a_quarter():
    """Camera and object turn to opposite sides: their images are mirrored halves, and the object is seen as before."""
    view = look_from(np.array([0.2, 0.1, 1.0]), np.array([0.0, 0.05, 0.0]), 0.4)
    aspect, size = 1.5, (200, 300)
    angle = view.quarter_angle_rad(aspect)
    points = np.array([[0.0, 0.05, 0.0], [0.01, 0.04, 0.02]])

    def pixels(viewpoint, positions):
        return project(torch.from_numpy(positions)[None].float(), viewpoint.camera(size))[0, :, :2].numpy()

    left = pixels(view.turned(angle), points)
    assert left[0] == pytest.approx([75, 100], abs=0.01)
    wxyz, shift = view.object_turn(angle)
    moved = points @ Viewpoint(wxyz, (0.0, 0.0, 0.0), 1.0).axes.T + np.array(shift)
    right = pixels(view, moved)
    assert right[0] == pytest.approx([225, 100], abs=0.01)
    seen_as_before = pixels(view.turned(-angle), points)
    assert right == pytest.approx(seen_as_before, abs=0.01)
