"""`project` of `nha/render/camera.py` as one kernel launch each way; the kernels are in `camera_triton.py`."""

from __future__ import annotations

import torch
from torch import Tensor

from nha.core.launches import register_launches

# Points nearer to the camera plane have no meaningful projection; rasterisers skip their faces.
MIN_DEPTH_METRES = 1e-8


def fused_project(points_world: Tensor, extrinsics: Tensor, intrinsics: Tensor, height: int) -> Tensor:
    """World points in pixels and their depth, [N, V, 3]; differentiable once, in the points.

    Args:
        points_world: [N, V, 3] metres.
        extrinsics: [N, 3, 4], or [1, 3, 4] for all.
        intrinsics: [N, 3, 3], or [1, 3, 3] for all.
        height: of the image in pixels.
    """
    return _Project.apply(points_world, extrinsics, intrinsics, height)


class _Project(torch.autograd.Function):
    @staticmethod
    def forward(ctx, points: Tensor, extrinsics: Tensor, intrinsics: Tensor, height: int) -> Tensor:
        points, extrinsics, intrinsics = (t.contiguous() for t in (points, extrinsics, intrinsics))
        screen = torch.empty_like(points)
        torch.ops.nha.project(points, extrinsics, intrinsics, height, screen)
        ctx.save_for_backward(points, extrinsics, intrinsics)
        return screen

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        points, extrinsics, intrinsics = ctx.saved_tensors
        gradient = torch.empty_like(points)
        torch.ops.nha.project_backward(points, extrinsics, intrinsics, grad.contiguous(), gradient)
        return gradient, None, None, None


def _to_camera(points: Tensor, extrinsics: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Points in the camera frame, the depth by which they are divided, and bool where that is not their own."""
    camera = points @ extrinsics[:, :, :3] + extrinsics[:, None, :, 3]
    depth = camera[..., 2:]
    at_camera = depth.abs() < MIN_DEPTH_METRES
    return camera, depth.masked_fill(at_camera, MIN_DEPTH_METRES), at_camera


def _focal(intrinsics: Tensor) -> Tensor:
    return torch.stack([intrinsics[:, 0, 0], intrinsics[:, 1, 1]], 1)[:, None]


def _project_twin(
    points: Tensor, extrinsics: Tensor, intrinsics: Tensor, height: int, screen: Tensor
) -> None:
    camera, depth, _ = _to_camera(points, extrinsics)
    centre = torch.stack([intrinsics[:, 0, 2], height - intrinsics[:, 1, 2]], 1)[:, None]
    screen[..., :2] = centre - _focal(intrinsics) * camera[..., :2] / depth
    screen[..., 2] = camera[..., 2]


def _project_backward_twin(
    points: Tensor, extrinsics: Tensor, intrinsics: Tensor, upstream: Tensor, gradient: Tensor
) -> None:
    camera, depth, at_camera = _to_camera(points, extrinsics)
    scaled = upstream[..., :2] * _focal(intrinsics) / depth
    through_depth = (scaled * camera[..., :2]).sum(-1, keepdim=True) / depth
    of_depth = upstream[..., 2:] + through_depth.masked_fill(at_camera, 0.0)
    gradient.copy_(torch.cat([-scaled, of_depth], -1) @ extrinsics[:, :, :3].mT)


register_launches(
    "nha.render.camera_triton",
    {
        "project(Tensor points, Tensor extrinsics, Tensor intrinsics, int height, Tensor(a!) screen) -> ()": (
            _project_twin
        ),
        "project_backward(Tensor points, Tensor extrinsics, Tensor intrinsics, Tensor upstream, "
        "Tensor(a!) gradient) -> ()": _project_backward_twin,
    },
)
