"""Triton kernels of `nha/core/mesh_ops.py`: each lane computes a vertex.

With TRITON_INTERPRET=1 set before the import the kernels run on the CPU (slowly, for tests).
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from nha.core.rotation_triton import load3, store3

_LANES = 128
_SHORTEST_AXIS = tl.constexpr(1e-6)


@triton.jit
def _cross(ax, ay, az, bx, by, bz):
    return ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx


@triton.jit
def _corner(values_ptr, faces_ptr, image_start, face, corner: tl.constexpr, mask):
    """The vertex at a corner of each lane's face, and the values [3] there."""
    vertex = tl.load(faces_ptr + face * 3 + corner, mask=mask, other=0)
    x, y, z = load3(values_ptr + (image_start + vertex) * 3, mask)
    return vertex, x, y, z


@triton.jit
def _vertex_normals(
    vertices_ptr,  # [N, V, 3]
    faces_ptr,  # [F, 3] int64
    starts_ptr,  # [V + 1] int32
    items_ptr,  # [3 F] int32, the corners of each vertex: 3 * face + 0, 1 or 2
    normals_ptr,  # [N, V, 3], written
    lengths_ptr,  # [N, V], written: lengths of the sums
    vertices,
    largest,
    eps,
    LANES: tl.constexpr,
):
    vertex = tl.program_id(0) * LANES + tl.arange(0, LANES)
    mask = vertex < vertices
    image_start = tl.program_id(1).to(tl.int64) * vertices
    start = tl.load(starts_ptr + vertex, mask=mask, other=0)
    end = tl.load(starts_ptr + vertex + 1, mask=mask, other=0)
    x = tl.zeros([LANES], tl.float32)
    y, z = x, x
    for i in range(largest):
        own = start + i < end
        face = tl.load(items_ptr + start + i, mask=own, other=0).to(tl.int64) // 3
        _, ax, ay, az = _corner(vertices_ptr, faces_ptr, image_start, face, 0, own)
        _, bx, by, bz = _corner(vertices_ptr, faces_ptr, image_start, face, 1, own)
        _, cx, cy, cz = _corner(vertices_ptr, faces_ptr, image_start, face, 2, own)
        nx, ny, nz = _cross(bx - ax, by - ay, bz - az, cx - ax, cy - ay, cz - az)
        x += nx
        y += ny
        z += nz
    length = tl.sqrt(x * x + y * y + z * z)
    limited = tl.maximum(length, eps)
    store3(normals_ptr + (image_start + vertex) * 3, x / limited, y / limited, z / limited, mask)
    tl.store(lengths_ptr + image_start + vertex, length, mask=mask)


@triton.jit
def _unit_backward(normals_ptr, lengths_ptr, upstream_ptr, of_sums_ptr, count, eps, LANES: tl.constexpr):
    row = tl.program_id(0).to(tl.int64) * LANES + tl.arange(0, LANES)
    mask = row < count
    x, y, z = load3(normals_ptr + row * 3, mask)
    ux, uy, uz = load3(upstream_ptr + row * 3, mask)
    length = tl.load(lengths_ptr + row, mask=mask, other=1.0)
    along = tl.where(length > eps, x * ux + y * uy + z * uz, 0.0)
    limited = tl.maximum(length, eps)
    x, y, z = (ux - x * along) / limited, (uy - y * along) / limited, (uz - z * along) / limited
    store3(of_sums_ptr + row * 3, x, y, z, mask)


@triton.jit
def _vertex_normals_backward(
    vertices_ptr,  # [N, V, 3]
    faces_ptr,  # [F, 3] int64
    starts_ptr,  # [V + 1] int32
    items_ptr,  # [3 F] int32
    of_sums_ptr,  # [N, V, 3]
    gradient_ptr,  # [N, V, 3], written
    vertices,
    largest,
    LANES: tl.constexpr,
):
    vertex = tl.program_id(0) * LANES + tl.arange(0, LANES)
    mask = vertex < vertices
    image_start = tl.program_id(1).to(tl.int64) * vertices
    start = tl.load(starts_ptr + vertex, mask=mask, other=0)
    end = tl.load(starts_ptr + vertex + 1, mask=mask, other=0)
    x = tl.zeros([LANES], tl.float32)
    y, z = x, x
    for i in range(largest):
        own = start + i < end
        item = tl.load(items_ptr + start + i, mask=own, other=0).to(tl.int64)
        face = item // 3
        a, ax, ay, az = _corner(vertices_ptr, faces_ptr, image_start, face, 0, own)
        b, bx, by, bz = _corner(vertices_ptr, faces_ptr, image_start, face, 1, own)
        c, cx, cy, cz = _corner(vertices_ptr, faces_ptr, image_start, face, 2, own)
        gx, gy, gz = load3(of_sums_ptr + (image_start + a) * 3, own)
        hx, hy, hz = load3(of_sums_ptr + (image_start + b) * 3, own)
        kx, ky, kz = load3(of_sums_ptr + (image_start + c) * 3, own)
        # the edge that lies opposite of this corner
        at_a, at_b = item % 3 == 0, item % 3 == 1
        ex = tl.where(at_a, bx - cx, tl.where(at_b, cx - ax, ax - bx))
        ey = tl.where(at_a, by - cy, tl.where(at_b, cy - ay, ay - by))
        ez = tl.where(at_a, bz - cz, tl.where(at_b, cz - az, az - bz))
        dx, dy, dz = _cross(ex, ey, ez, gx + hx + kx, gy + hy + ky, gz + hz + kz)
        x += tl.where(own, dx, 0.0)
        y += tl.where(own, dy, 0.0)
        z += tl.where(own, dz, 0.0)
    store3(gradient_ptr + (image_start + vertex) * 3, x, y, z, mask)


@triton.jit
def _neighbour_difference(
    values_ptr,  # [N, V, C]
    starts_ptr,  # [V + 1] int32
    items_ptr,  # [2 E] int32, the neighbours of each vertex
    out_ptr,  # [N, V, C], written
    vertices,
    channels,
    largest,
    OF_GRADIENT: tl.constexpr,
    LANES: tl.constexpr,
):
    vertex = tl.program_id(0) * LANES + tl.arange(0, LANES)
    mask = vertex < vertices
    image_start = tl.program_id(1).to(tl.int64) // channels * vertices
    channel = tl.program_id(1).to(tl.int64) % channels
    start = tl.load(starts_ptr + vertex, mask=mask, other=0)
    count = tl.load(starts_ptr + vertex + 1, mask=mask, other=0) - start
    total = tl.zeros([LANES], tl.float32)
    for i in range(largest):
        own = i < count
        other = tl.load(items_ptr + start + i, mask=own, other=0)
        value = tl.load(values_ptr + (image_start + other) * channels + channel, mask=own, other=0.0)
        if OF_GRADIENT:
            first = tl.load(starts_ptr + other, mask=own, other=0)
            value /= tl.maximum(tl.load(starts_ptr + other + 1, mask=own, other=1) - first, 1).to(tl.float32)
        total += value
    if not OF_GRADIENT:
        total /= tl.maximum(count, 1).to(tl.float32)
    place = (image_start + vertex) * channels + channel
    value = tl.load(values_ptr + place, mask=mask, other=0.0)
    tl.store(out_ptr + place, total - tl.where(count > 0, value, 0.0), mask=mask)


@triton.jit
def _frame(normals_ptr, ids_ptr, point, vertices, image, mask):
    """The axes of the tangent frames of unit normals, nine components."""
    vertex = tl.load(ids_ptr + point, mask=mask, other=0)
    x, y, z = load3(normals_ptr + (image * vertices + vertex) * 3, mask)
    length = tl.sqrt(x * x + z * z)
    short = length < _SHORTEST_AXIS
    limited = tl.maximum(length, _SHORTEST_AXIS)
    ex, ey, ez = tl.where(short, 0.0, z / limited), tl.zeros_like(x), tl.where(short, 1.0, -x / limited)
    fx, fy, fz = _cross(x, y, z, ex, ey, ez)
    return ex, ey, ez, fx, fy, fz, x, y, z


@triton.jit
def _tangent_offsets(
    points_ptr,  # [N, K, 3]
    normals_ptr,  # [N, V, 3]
    ids_ptr,  # [K] int64
    offsets_ptr,  # [N, K, 3]
    moved_ptr,  # [N, K, 3], written
    points,
    vertices,
    LANES: tl.constexpr,
):
    point = tl.program_id(0) * LANES + tl.arange(0, LANES)
    image = tl.program_id(1).to(tl.int64)
    mask = point < points
    ex, ey, ez, fx, fy, fz, nx, ny, nz = _frame(normals_ptr, ids_ptr, point, vertices, image, mask)
    place = (image * points + point) * 3
    u, v, w = load3(offsets_ptr + place, mask)
    x, y, z = load3(points_ptr + place, mask)
    store3(
        moved_ptr + place,
        x + (ex * u + fx * v + nx * w),
        y + (ey * u + fy * v + ny * w),
        z + (ez * u + fz * v + nz * w),
        mask,
    )


@triton.jit
def _tangent_offsets_backward(
    normals_ptr,  # [N, V, 3]
    ids_ptr,  # [K] int64
    upstream_ptr,  # [N, K, 3]
    of_offsets_ptr,  # [N, K, 3], written
    points,
    vertices,
    LANES: tl.constexpr,
):
    point = tl.program_id(0) * LANES + tl.arange(0, LANES)
    image = tl.program_id(1).to(tl.int64)
    mask = point < points
    ex, ey, ez, fx, fy, fz, nx, ny, nz = _frame(normals_ptr, ids_ptr, point, vertices, image, mask)
    place = (image * points + point) * 3
    x, y, z = load3(upstream_ptr + place, mask)
    store3(
        of_offsets_ptr + place,
        ex * x + ey * y + ez * z,
        fx * x + fy * y + fz * z,
        nx * x + ny * y + nz * z,
        mask,
    )


def _grid(rows: int, images: int) -> tuple[int, int]:
    return triton.cdiv(rows, _LANES), images


def vertex_normals(
    vertices: Tensor,
    faces: Tensor,
    starts: Tensor,
    items: Tensor,
    largest: int,
    eps: float,
    normals: Tensor,
    lengths: Tensor,
) -> None:
    """Write unit normals [N, V, 3] and the lengths [N, V] by which they were divided."""
    n, count = vertices.shape[:2]
    _vertex_normals[_grid(count, n)](
        vertices,
        faces,
        starts,
        items,
        normals,
        lengths,
        count,
        largest,
        eps,
        LANES=_LANES,
        enable_fp_fusion=False,
    )


def unit_backward(normals: Tensor, lengths: Tensor, upstream: Tensor, eps: float, of_sums: Tensor) -> None:
    """Write the gradient of vectors for that of their unit vectors, all [N, V, 3]."""
    count = lengths.numel()
    _unit_backward[_grid(count, 1)](normals, lengths, upstream, of_sums, count, eps, LANES=_LANES)


def vertex_normals_backward(
    vertices: Tensor,
    faces: Tensor,
    starts: Tensor,
    items: Tensor,
    largest: int,
    of_sums: Tensor,
    gradient: Tensor,
) -> None:
    """Write the gradient of the vertices for that of the sums of cross products, [N, V, 3]."""
    n, count = vertices.shape[:2]
    _vertex_normals_backward[_grid(count, n)](
        vertices, faces, starts, items, of_sums, gradient, count, largest, LANES=_LANES
    )


def neighbour_difference(
    values: Tensor, starts: Tensor, items: Tensor, largest: int, of_gradient: bool, out: Tensor
) -> None:
    """Write the means of the neighbours minus the own values, or that function's gradient, [N, V, C]."""
    n, count, channels = values.shape
    _neighbour_difference[_grid(count, n * channels)](
        values, starts, items, out, count, channels, largest, OF_GRADIENT=of_gradient, LANES=_LANES
    )


def tangent_offsets(points: Tensor, normals: Tensor, ids: Tensor, offsets: Tensor, moved: Tensor) -> None:
    """Write points [N, K, 3] moved by offsets in the tangent frames of normals [N, V, 3]."""
    n, count = points.shape[:2]
    _tangent_offsets[_grid(count, n)](
        points, normals, ids, offsets, moved, count, normals.shape[1], LANES=_LANES, enable_fp_fusion=False
    )


def tangent_offsets_backward(normals: Tensor, ids: Tensor, upstream: Tensor, of_offsets: Tensor) -> None:
    """Write the gradient of the offsets [N, K, 3]."""
    n, count = upstream.shape[:2]
    _tangent_offsets_backward[_grid(count, n)](
        normals, ids, upstream, of_offsets, count, normals.shape[1], LANES=_LANES
    )
