"""The conventions of the camera, each with a point whose projection depends on it."""

from __future__ import annotations

import pytest
import torch

from nha.core.types import Camera
from nha.render.camera import (
    pixel_centres_raster_ndc,
    pixels_to_ndc,
    pixels_to_raster_ndc,
    project,
)


def _camera(cx: float = 20.0, cy: float = 12.0) -> Camera:
    intrinsics = torch.tensor([[[50.0, 0.0, cx], [0.0, 40.0, cy], [0.0, 0.0, 1.0]]])
    extrinsics = torch.eye(3, 4)[None].clone()
    return Camera(intrinsics, extrinsics, (30, 40))


def test_axis_projects_to_the_principal_point_counted_from_the_bottom():
    u, v, z = project(torch.tensor([[[0.0, 0.0, 2.0]]]), _camera())[0, 0]
    assert (u, v, z) == (20.0, 30.0 - 12.0, 2.0)


def test_left_and_up_in_the_world_are_left_and_up_on_screen():
    u, v, _ = project(torch.tensor([[[0.1, 0.2, 2.0]]]), _camera())[0, 0]
    torch.testing.assert_close(u, torch.tensor(20.0 - 50.0 * 0.05))
    torch.testing.assert_close(v, torch.tensor(18.0 - 40.0 * 0.1))


def test_row_vectors_times_rotation():
    rotation = torch.tensor([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    extrinsics = torch.cat((rotation, torch.tensor([[0.0], [0.0], [1.0]])), dim=1)[None]
    camera = Camera(_camera().intrinsics, extrinsics, (30, 40))
    u, v, z = project(torch.tensor([[[0.2, 0.0, 1.0]]]), camera)[0, 0]  # x becomes y
    torch.testing.assert_close(torch.stack((u, v, z)), torch.tensor([20.0, 18.0 - 40.0 * 0.1, 2.0]))


def test_points_on_the_camera_plane_stay_finite_and_so_do_gradients():
    points = torch.tensor([[[0.1, 0.2, 0.0], [0.1, 0.2, -1.0]]], requires_grad=True)
    projected = project(points, _camera())
    projected.sum().backward()
    assert projected.isfinite().all()
    assert points.grad.isfinite().all()


def test_project_is_differentiable(camera):
    camera = Camera(camera.intrinsics.double(), camera.extrinsics.double(), camera.image_size)
    points = torch.rand(2, 5, 3, dtype=torch.double) + torch.tensor([0.0, 0.0, 1.0])
    assert torch.autograd.gradcheck(lambda p: project(p, camera), points.requires_grad_())


def test_image_ndc_spans_the_image():
    corners = torch.tensor([[0.0, 0.0], [40.0, 30.0], [20.0, 15.0]])
    ndc = pixels_to_ndc(corners, (30, 40))
    assert ndc.tolist() == [[1.0, 1.0], [-1.0, -1.0], [0.0, 0.0]]


@pytest.mark.parametrize("image_size", [(30, 40), (40, 30)])
def test_raster_ndc_is_not_stretched(image_size):
    height, width = image_size
    ndc = pixels_to_raster_ndc(torch.tensor([0.0, 0.0]), image_size)
    torch.testing.assert_close(ndc, torch.tensor([width / 30, height / 30]))
    x, y = pixel_centres_raster_ndc(image_size, torch.device("cpu"))
    centres = torch.stack((torch.arange(width) + 0.5, torch.zeros(width)), dim=-1)
    torch.testing.assert_close(x, pixels_to_raster_ndc(centres, image_size)[:, 0])
    assert len(y) == height
    assert y[0] > y[-1]


def test_shape_errors(camera):
    with pytest.raises(ValueError, match="points_world must be"):
        project(torch.rand(4, 3), camera)
    with pytest.raises(ValueError, match="3 sets"):
        project(torch.rand(3, 4, 3), camera)


def test_gradients_of_a_constant_camera_equal_those_of_the_plain_form():
    torch.manual_seed(0)
    points = torch.randn(2, 7, 3, dtype=torch.float64)
    points[0, 0, 2] = 0.0  # in the plane of the camera
    points.requires_grad_()
    extrinsics = torch.randn(2, 3, 4, dtype=torch.float64)
    extrinsics[:, :, :3] = torch.eye(3)
    extrinsics[:, :, 3] = 0
    intrinsics = torch.tensor([[500.0, 0, 30], [0, 400, 20], [0, 0, 1]], dtype=torch.float64).expand(2, 3, 3)
    camera = Camera(intrinsics, extrinsics, (40, 60))
    learned = Camera(intrinsics.clone().requires_grad_(), extrinsics, (40, 60))  # takes autograd's way
    fast, plain = project(points, camera), project(points, learned)
    assert torch.equal(fast, plain)
    upstream = torch.randn_like(plain)
    (wanted,) = torch.autograd.grad(plain, points, upstream)
    torch.testing.assert_close(torch.autograd.grad(fast, points, upstream)[0], wanted)
