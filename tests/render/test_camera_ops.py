"""Projection by fused kernels against plain torch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nha.core.device import accelerator_path
from nha.core.types import Camera
from nha.render.camera import project
from op_counter import OpCounter

POINTS = 150  # more than one program's


def projected(device: str, cameras: int) -> list[Tensor]:
    """Pixels of points of two frames, of which one lies in the plane of the camera, and the points' gradient."""
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(2, POINTS, 3, generator=generator)
    extrinsics = torch.eye(3, 4).repeat(cameras, 1, 1)
    extrinsics[:, :2, :2] = torch.tensor([[0.8, -0.6], [0.6, 0.8]])
    extrinsics[-1, :, 3] = torch.tensor([0.1, -0.2, 4.0])
    points[-1, 0] = torch.tensor([0.3, 0.2, -4.0])
    intrinsics = torch.tensor([[500.0, 0, 60], [0, 400, 50], [0, 0, 1]]).repeat(cameras, 1, 1)
    points = points.to(device).requires_grad_()
    pixels = project(points, Camera(intrinsics, extrinsics, (96, 128)).to(device))
    upstream = torch.randn(pixels.shape, generator=generator).to(device)
    upstream[-1, 0] = 0  # in the plane of the camera gradients are meaningless
    return [pixels.detach().cpu(), torch.autograd.grad(pixels, points, upstream)[0].cpu()]


def assert_equals_plain(found: list[Tensor], cameras: int) -> None:
    for ours, plain in zip(found, projected("cpu", cameras), strict=True):
        torch.testing.assert_close(ours, plain, atol=1e-4, rtol=2e-5)


@pytest.mark.parametrize("cameras", [1, 2])
def test_fused_projection_equals_plain(cameras) -> None:
    with accelerator_path():
        found = projected("cpu", cameras)
    assert_equals_plain(found, cameras)


def test_fused_projection_is_one_operation_each_way() -> None:
    points = torch.randn(1, POINTS, 3, requires_grad=True)
    camera = Camera(torch.eye(3)[None], torch.eye(3, 4)[None], (10, 10))
    with accelerator_path(), OpCounter() as counter:
        pixels = project(points, camera)
    assert counter.totals()["ops"] == 1
    upstream = torch.ones_like(pixels)
    with OpCounter() as counter:
        torch.autograd.grad(pixels, points, upstream)
    assert counter.totals()["ops"] == 1


@pytest.mark.parametrize("name", ["intrinsics", "extrinsics"])
def test_a_camera_with_gradient_gets_it(name) -> None:
    tensors = {"intrinsics": torch.eye(3)[None], "extrinsics": torch.eye(3, 4)[None]}
    tensors[name].requires_grad_()
    with accelerator_path():
        project(torch.randn(1, 5, 3), Camera(**tensors, image_size=(10, 10))).sum().backward()
    assert tensors[name].grad.abs().sum() > 0


@pytest.mark.triton
@pytest.mark.parametrize("cameras", [1, 2])
def test_kernels_equal_plain(kernel_device, cameras) -> None:
    with accelerator_path():
        found = projected(kernel_device, cameras)
    assert_equals_plain(found, cameras)
