"""Triton kernels of `nha/render/camera_ops.py`: each lane computes a point.

With TRITON_INTERPRET=1 set before the import the kernels run on the CPU (slowly, for tests).
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from nha.render.camera_ops import MIN_DEPTH_METRES

_LANES = 128
_MIN_DEPTH = tl.constexpr(MIN_DEPTH_METRES)


@triton.jit
def _in_camera(points_ptr, extrinsics_ptr, place, mask):
    """Coordinates in the camera frame, x_cam = x_world @ R + T."""
    x = tl.load(points_ptr + place, mask=mask, other=0.0)
    y = tl.load(points_ptr + place + 1, mask=mask, other=0.0)
    z = tl.load(points_ptr + place + 2, mask=mask, other=1.0)
    e = extrinsics_ptr
    return (
        x * tl.load(e) + y * tl.load(e + 4) + z * tl.load(e + 8) + tl.load(e + 3),
        x * tl.load(e + 1) + y * tl.load(e + 5) + z * tl.load(e + 9) + tl.load(e + 7),
        x * tl.load(e + 2) + y * tl.load(e + 6) + z * tl.load(e + 10) + tl.load(e + 11),
    )


@triton.jit
def _project(
    points_ptr,  # [N, V, 3]
    extrinsics_ptr,  # [N, 3, 4] or [1, 3, 4]
    intrinsics_ptr,  # [N, 3, 3] or [1, 3, 3]
    screen_ptr,  # [N, V, 3], written
    vertices,
    height,
    extrinsics_stride,
    intrinsics_stride,
    LANES: tl.constexpr,
):
    vertex = tl.program_id(0) * LANES + tl.arange(0, LANES)
    image = tl.program_id(1).to(tl.int64)
    mask = vertex < vertices
    place = (image * vertices + vertex) * 3
    x, y, z = _in_camera(points_ptr, extrinsics_ptr + image * extrinsics_stride, place, mask)
    k = intrinsics_ptr + image * intrinsics_stride
    depth = tl.where(tl.abs(z) < _MIN_DEPTH, _MIN_DEPTH, z)
    tl.store(screen_ptr + place, tl.load(k + 2) - tl.load(k) * x / depth, mask=mask)
    tl.store(screen_ptr + place + 1, height - tl.load(k + 5) - tl.load(k + 4) * y / depth, mask=mask)
    tl.store(screen_ptr + place + 2, z, mask=mask)


@triton.jit
def _project_backward(
    points_ptr,  # [N, V, 3]
    extrinsics_ptr,  # as in `_project`
    intrinsics_ptr,
    upstream_ptr,  # [N, V, 3]
    gradient_ptr,  # [N, V, 3], written
    vertices,
    extrinsics_stride,
    intrinsics_stride,
    LANES: tl.constexpr,
):
    vertex = tl.program_id(0) * LANES + tl.arange(0, LANES)
    image = tl.program_id(1).to(tl.int64)
    mask = vertex < vertices
    place = (image * vertices + vertex) * 3
    e, k = extrinsics_ptr + image * extrinsics_stride, intrinsics_ptr + image * intrinsics_stride
    x, y, z = _in_camera(points_ptr, e, place, mask)
    at_camera = tl.abs(z) < _MIN_DEPTH
    depth = tl.where(at_camera, _MIN_DEPTH, z)
    of_u = tl.load(upstream_ptr + place, mask=mask, other=0.0) * tl.load(k) / depth
    of_v = tl.load(upstream_ptr + place + 1, mask=mask, other=0.0) * tl.load(k + 4) / depth
    of_z = tl.load(upstream_ptr + place + 2, mask=mask, other=0.0)
    of_z += tl.where(at_camera, 0.0, (of_u * x + of_v * y) / depth)
    for i in tl.static_range(3):
        row = e + 4 * i
        value = -of_u * tl.load(row) - of_v * tl.load(row + 1) + of_z * tl.load(row + 2)
        tl.store(gradient_ptr + place + i, value, mask=mask)


def _strides(extrinsics: Tensor, intrinsics: Tensor) -> tuple[int, int]:
    """Numbers from one image's camera to the next's; 0 where all images have one."""
    return (12 if len(extrinsics) > 1 else 0), (9 if len(intrinsics) > 1 else 0)


def project(points: Tensor, extrinsics: Tensor, intrinsics: Tensor, height: int, screen: Tensor) -> None:
    """Write pixels and depths [N, V, 3] of world points; all tensors are contiguous float32."""
    n, vertices = points.shape[:2]
    _project[(triton.cdiv(vertices, _LANES), n)](
        points,
        extrinsics,
        intrinsics,
        screen,
        vertices,
        float(height),
        *_strides(extrinsics, intrinsics),
        LANES=_LANES,
        num_warps=4,
        enable_fp_fusion=False,
    )


def project_backward(
    points: Tensor, extrinsics: Tensor, intrinsics: Tensor, upstream: Tensor, gradient: Tensor
) -> None:
    """Write the gradient [N, V, 3] of the points for that of pixels and depths."""
    n, vertices = points.shape[:2]
    _project_backward[(triton.cdiv(vertices, _LANES), n)](
        points,
        extrinsics,
        intrinsics,
        upstream,
        gradient,
        vertices,
        *_strides(extrinsics, intrinsics),
        LANES=_LANES,
        num_warps=4,
        enable_fp_fusion=False,
    )
