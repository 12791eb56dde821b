"""Triton kernels of skinning, see `nha/head/pose_ops.py`.

With TRITON_INTERPRET=1 set before the import the kernels run on the CPU (slowly, for tests).
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from nha.head.joint_triton import load3, store3
from nha.head.pose_ops import VERTICES


@triton.jit
def _blended(transforms_ptr, weights_ptr, vertex, mask, i: tl.constexpr, JOINTS: tl.constexpr):
    """Row i of the blended transform [3, 4] of each vertex."""
    a = tl.zeros_like(vertex).to(tl.float32)
    b, c, d = a, a, a
    for j in tl.static_range(JOINTS):
        weight = tl.load(weights_ptr + vertex * JOINTS + j, mask=mask, other=0.0)
        row = transforms_ptr + j * 12 + i * 4
        a += weight * tl.load(row)
        b += weight * tl.load(row + 1)
        c += weight * tl.load(row + 2)
        d += weight * tl.load(row + 3)
    return a, b, c, d


@triton.jit
def _skin(
    transforms_ptr,  # [N, J, 12]
    rest_ptr,  # [N, P C, 3]
    weights_ptr,  # [P C, J]
    corner_weights_ptr,  # [P, C]
    points_ptr,  # [N, P, 3], written
    points,
    JOINTS: tl.constexpr,
    CORNERS: tl.constexpr,
    LANES: tl.constexpr,
):
    point = tl.program_id(0) * LANES + tl.arange(0, LANES)
    image = tl.program_id(1).to(tl.int64)
    mask = point < points
    transforms_ptr += image * JOINTS * 12
    for i in tl.static_range(3):
        total = tl.zeros([LANES], tl.float32)
        for corner in tl.static_range(CORNERS):
            vertex = point * CORNERS + corner
            x, y, z = load3(rest_ptr + (image * points * CORNERS + vertex) * 3, 1, mask)
            a, b, c, d = _blended(transforms_ptr, weights_ptr, vertex, mask, i, JOINTS)
            value = a * x + b * y + c * z + d
            if CORNERS > 1:
                value *= tl.load(corner_weights_ptr + vertex, mask=mask, other=0.0)
            total += value
        tl.store(points_ptr + (image * points + point) * 3 + i, total, mask=mask)


@triton.jit
def _skin_backward(
    transforms_ptr,  # [N, J, 12]
    rest_ptr,  # [N, P C, 3]
    weights_ptr,  # [P C, J]
    corner_weights_ptr,  # [P, C]
    upstream_ptr,  # [N, P, 3]
    of_rest_ptr,  # [N, P C, 3], written
    of_transforms_ptr,  # [B, N, J, 12], written: the sums of B blocks of vertices
    vertices,  # P C
    JOINTS: tl.constexpr,
    CORNERS: tl.constexpr,
    LANES: tl.constexpr,
):
    vertex = tl.program_id(0) * LANES + tl.arange(0, LANES)
    image = tl.program_id(1).to(tl.int64)
    mask = vertex < vertices
    transforms_ptr += image * JOINTS * 12
    sums = of_transforms_ptr + (tl.program_id(0) * tl.num_programs(1) + image) * JOINTS * 12
    x, y, z = load3(rest_ptr + (image * vertices + vertex) * 3, 1, mask)
    of_point = upstream_ptr + (image * (vertices // CORNERS) + vertex // CORNERS) * 3
    share = tl.full([LANES], 1.0, tl.float32)
    if CORNERS > 1:
        share = tl.load(corner_weights_ptr + vertex, mask=mask, other=0.0)
    of_x = tl.zeros([LANES], tl.float32)
    of_y, of_z = of_x, of_x
    for i in tl.static_range(3):
        upstream = tl.load(of_point + i, mask=mask, other=0.0) * share
        a, b, c, _ = _blended(transforms_ptr, weights_ptr, vertex, mask, i, JOINTS)
        of_x += a * upstream
        of_y += b * upstream
        of_z += c * upstream
        for j in tl.static_range(JOINTS):
            weighted = tl.load(weights_ptr + vertex * JOINTS + j, mask=mask, other=0.0) * upstream
            row = sums + j * 12 + i * 4
            tl.store(row, tl.sum(weighted * x, 0))
            tl.store(row + 1, tl.sum(weighted * y, 0))
            tl.store(row + 2, tl.sum(weighted * z, 0))
            tl.store(row + 3, tl.sum(weighted, 0))
    store3(of_rest_ptr + (image * vertices + vertex) * 3, 1, (of_x, of_y, of_z), mask)


def skin(
    transforms: Tensor, rest: Tensor, weights: Tensor, corner_weights: Tensor | None, points: Tensor
) -> None:
    """Write points [N, P, 3]; see `pose_ops.fused_skinning`."""
    n, count = points.shape[:2]
    _skin[(triton.cdiv(count, VERTICES), n)](
        transforms,
        rest,
        weights,
        weights if corner_weights is None else corner_weights,
        points,
        count,
        JOINTS=weights.shape[1],
        CORNERS=1 if corner_weights is None else corner_weights.shape[1],
        LANES=VERTICES,
        num_warps=4,
        enable_fp_fusion=False,
    )


def skin_backward(
    transforms: Tensor,
    rest: Tensor,
    weights: Tensor,
    corner_weights: Tensor | None,
    upstream: Tensor,
    of_rest: Tensor,
    of_transforms: Tensor,
) -> None:
    """Write the gradients of the vertices [N, V, 3], and those of the transforms by block [B, N, J, 3, 4]."""
    n, vertices = rest.shape[:2]
    _skin_backward[(len(of_transforms), n)](
        transforms,
        rest,
        weights,
        weights if corner_weights is None else corner_weights,
        upstream,
        of_rest,
        of_transforms,
        vertices,
        JOINTS=weights.shape[1],
        CORNERS=1 if corner_weights is None else corner_weights.shape[1],
        LANES=VERTICES,
        num_warps=4,
        enable_fp_fusion=False,
    )
