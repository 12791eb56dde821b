"""Triton kernels of `nha/core/rotation_ops.py`: each lane computes one rotation.

With TRITON_INTERPRET=1 set before the import the kernels run on the CPU (slowly, for tests).
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from nha.core.rotation_ops import GUARD, SMALLEST_LENGTH

_LANES = 32  # rotations of a program
_GUARD = tl.constexpr(GUARD)
_SMALLEST_LENGTH = tl.constexpr(SMALLEST_LENGTH)
_HALF_PI, _QUARTER_PI, _TAN_EIGHTH_PI = (
    tl.constexpr(1.5707963267948966),
    tl.constexpr(0.7853981633974483),
    tl.constexpr(0.41421356),
)
# atan(t) for |t| <= tan(pi / 8) as t times a polynomial of t^2, least squares; the largest error is 5e-9
_A0, _A1 = tl.constexpr(-0.33332757), tl.constexpr(0.19971878)
_A2, _A3 = tl.constexpr(-0.13824439), tl.constexpr(0.07902556)


@triton.jit
def load3(ptr, mask):
    """Three neighbouring values of each lane."""
    return (
        tl.load(ptr, mask=mask, other=1.0),
        tl.load(ptr + 1, mask=mask, other=0.0),
        tl.load(ptr + 2, mask=mask, other=0.0),
    )


@triton.jit
def store3(ptr, x, y, z, mask):
    tl.store(ptr, x, mask=mask)
    tl.store(ptr + 1, y, mask=mask)
    tl.store(ptr + 2, z, mask=mask)


@triton.jit
def _angle(y, x):
    """atan2(y, x) in radians for y and x that are not negative."""
    larger, smaller = tl.maximum(x, y), tl.minimum(x, y)
    ratio = smaller / tl.maximum(larger, 1e-30)
    upper = ratio > _TAN_EIGHTH_PI
    t = tl.where(upper, (ratio - 1) / (ratio + 1), ratio)
    square = t * t
    angle = t + t * square * (_A0 + square * (_A1 + square * (_A2 + square * _A3)))
    angle = tl.where(upper, _QUARTER_PI + angle, angle)
    return tl.where(y > x, _HALF_PI - angle, angle)


@triton.jit
def matrix_of(vx, vy, vz):
    """The nine entries of the rotation matrices of axis-angle vectors."""
    gx, gy, gz = vx + _GUARD, vy + _GUARD, vz + _GUARD
    angle = tl.sqrt(gx * gx + gy * gy + gz * gz)
    x, y, z = vx / angle, vy / angle, vz / angle
    s, v = tl.sin(angle), 1 - tl.cos(angle)
    # I + s K + v K K with the matrix K of the cross product with the axis
    return (
        1 + v * (-z * z - y * y),
        -s * z + v * (x * y),
        s * y + v * (x * z),
        s * z + v * (x * y),
        1 + v * (-z * z - x * x),
        -s * x + v * (y * z),
        -s * y + v * (x * z),
        s * x + v * (y * z),
        1 + v * (-y * y - x * x),
    )


@triton.jit
def gradient_of_vector(vx, vy, vz, u):
    """The gradients of axis-angle vectors for those of their matrices' nine entries."""
    gx, gy, gz = vx + _GUARD, vy + _GUARD, vz + _GUARD
    angle = tl.sqrt(gx * gx + gy * gy + gz * gz)
    x, y, z = vx / angle, vy / angle, vz / angle
    sine, cosine = tl.sin(angle), tl.cos(angle)
    versine = 1 - cosine
    u00, u11, u22 = u[0], u[4], u[8]
    across_x, across_y, across_z = u[7] - u[5], u[2] - u[6], u[3] - u[1]
    a, b, c = u[1] + u[3], u[2] + u[6], u[5] + u[7]
    # the matrix as a function of axis, sine and versine; its entries as in `matrix_of`
    of_sine = x * across_x + y * across_y + z * across_z
    of_versine = x * y * a + x * z * b + y * z * c
    of_versine -= u00 * (y * y + z * z) + u11 * (x * x + z * z) + u22 * (x * x + y * y)
    of_x = sine * across_x + versine * (y * a + z * b - 2 * x * (u11 + u22))
    of_y = sine * across_y + versine * (x * a + z * c - 2 * y * (u00 + u22))
    of_z = sine * across_z + versine * (x * b + y * c - 2 * z * (u00 + u11))
    of_angle = cosine * of_sine + sine * of_versine - (of_x * x + of_y * y + of_z * z) / angle
    return (of_x + of_angle * gx) / angle, (of_y + of_angle * gy) / angle, (of_z + of_angle * gz) / angle


@triton.jit
def load9(ptr, mask):
    """Nine neighbouring values of each lane."""
    a, b, c = load3(ptr, mask)
    d, e, f = load3(ptr + 3, mask)
    g, h, i = load3(ptr + 6, mask)
    return a, b, c, d, e, f, g, h, i


@triton.jit
def store9(ptr, m, mask):
    for k in tl.static_range(9):
        tl.store(ptr + k, m[k], mask=mask)


@triton.jit
def _matrix(vectors_ptr, matrix_ptr, count, LANES: tl.constexpr):
    lane = tl.program_id(0) * LANES + tl.arange(0, LANES)
    mask = lane < count
    x, y, z = load3(vectors_ptr + lane * 3, mask)
    store9(matrix_ptr + lane * 9, matrix_of(x, y, z), mask)


@triton.jit
def _matrix_backward(vectors_ptr, upstream_ptr, gradient_ptr, count, LANES: tl.constexpr):
    lane = tl.program_id(0) * LANES + tl.arange(0, LANES)
    mask = lane < count
    x, y, z = load3(vectors_ptr + lane * 3, mask)
    x, y, z = gradient_of_vector(x, y, z, load9(upstream_ptr + lane * 9, mask))
    store3(gradient_ptr + lane * 3, x, y, z, mask)


@triton.jit
def _candidate(matrices_ptr, lane, mask):
    """The best of four formulas of the quaternion: 4 * its largest component * (w, x, y, z), and which it is."""
    m00, m01, m02 = load3(matrices_ptr + lane * 9, mask)
    m10, m11, m12 = load3(matrices_ptr + lane * 9 + 3, mask)
    m20, m21, m22 = load3(matrices_ptr + lane * 9 + 6, mask)
    best, value = tl.zeros_like(lane), 1 + m00 + m11 + m22
    w, x, y, z = value, m21 - m12, m02 - m20, m10 - m01
    d = 1 + m00 - m11 - m22
    better = d > value
    best, value = tl.where(better, 1, best), tl.where(better, d, value)
    w, x = tl.where(better, m21 - m12, w), tl.where(better, d, x)
    y, z = tl.where(better, m10 + m01, y), tl.where(better, m02 + m20, z)
    d = 1 - m00 + m11 - m22
    better = d > value
    best, value = tl.where(better, 2, best), tl.where(better, d, value)
    w, x = tl.where(better, m02 - m20, w), tl.where(better, m10 + m01, x)
    y, z = tl.where(better, d, y), tl.where(better, m12 + m21, z)
    d = 1 - m00 - m11 + m22
    better = d > value
    best = tl.where(better, 3, best)
    w, x = tl.where(better, m10 - m01, w), tl.where(better, m02 + m20, x)
    y, z = tl.where(better, m12 + m21, y), tl.where(better, d, z)
    return best, w, x, y, z


@triton.jit
def _vector(matrices_ptr, vector_ptr, count, LANES: tl.constexpr):
    lane = tl.program_id(0) * LANES + tl.arange(0, LANES)
    mask = lane < count
    _, w, x, y, z = _candidate(matrices_ptr, lane, mask)
    norm = tl.sqrt(w * w + x * x + y * y + z * z)
    norm = tl.where(w < 0, -norm, norm)
    w, x, y, z = w / norm, x / norm, y / norm, z / norm
    length = tl.sqrt(x * x + y * y + z * z)
    known = length > _SMALLEST_LENGTH
    scale = tl.where(known, 2 * _angle(length, w) / tl.where(known, length, 1.0), 2.0)
    store3(vector_ptr + lane * 3, x * scale, y * scale, z * scale, mask)


@triton.jit
def _vector_backward(matrices_ptr, upstream_ptr, gradient_ptr, count, LANES: tl.constexpr):
    lane = tl.program_id(0) * LANES + tl.arange(0, LANES)
    mask = lane < count
    ux, uy, uz = load3(upstream_ptr + lane * 3, mask)
    best, w, x, y, z = _candidate(matrices_ptr, lane, mask)
    norm = tl.sqrt(w * w + x * x + y * y + z * z)
    norm = tl.where(w < 0, -norm, norm)
    w, x, y, z = w / norm, x / norm, y / norm, z / norm
    length = tl.sqrt(x * x + y * y + z * z)
    known = length > _SMALLEST_LENGTH
    safe = tl.where(known, length, 1.0)
    square = w * w + length * length
    scale = tl.where(known, 2 * _angle(length, w) / safe, 2.0)
    along = ux * x + uy * y + uz * z
    by_vector = tl.where(known, along * (2 * w / square - scale) / (safe * safe), 0.0)
    of_w = tl.where(known, -2 * along / square, 0.0)
    of_x, of_y, of_z = ux * scale + by_vector * x, uy * scale + by_vector * y, uz * scale + by_vector * z
    along = w * of_w + x * of_x + y * of_y + z * of_z
    of_w, of_x = (of_w - along * w) / norm, (of_x - along * x) / norm
    of_y, of_z = (of_y - along * y) / norm, (of_z - along * z) / norm
    # each formula is linear in the matrix: differences of its entries, sums of them, and its diagonal
    difference_x = tl.where(best == 0, of_x, tl.where(best == 1, of_w, 0.0))
    difference_y = tl.where(best == 0, of_y, tl.where(best == 2, of_w, 0.0))
    difference_z = tl.where(best == 0, of_z, tl.where(best == 3, of_w, 0.0))
    sum_xy = tl.where(best == 1, of_y, tl.where(best == 2, of_x, 0.0))
    sum_xz = tl.where(best == 1, of_z, tl.where(best == 3, of_x, 0.0))
    sum_yz = tl.where(best == 2, of_z, tl.where(best == 3, of_y, 0.0))
    diagonal = tl.where(best == 0, of_w, tl.where(best == 1, of_x, tl.where(best == 2, of_y, of_z)))
    on_xx = tl.where(best <= 1, diagonal, -diagonal)
    on_yy = tl.where((best == 0) | (best == 2), diagonal, -diagonal)
    on_zz = tl.where((best == 0) | (best == 3), diagonal, -diagonal)
    out = gradient_ptr + lane * 9
    store3(out, on_xx, sum_xy - difference_z, sum_xz + difference_y, mask)
    store3(out + 3, sum_xy + difference_z, on_yy, sum_yz - difference_x, mask)
    store3(out + 6, sum_xz - difference_y, sum_yz + difference_x, on_zz, mask)


def _run(kernel, count: int, *tensors: Tensor) -> None:
    kernel[(triton.cdiv(count, _LANES),)](*tensors, count, LANES=_LANES, num_warps=1, enable_fp_fusion=False)


def rotation_matrix(vectors: Tensor, matrix: Tensor) -> None:
    """Write the matrices [..., 3, 3] of axis-angle vectors [..., 3] in radians."""
    _run(_matrix, vectors.numel() // 3, vectors, matrix)


def rotation_matrix_backward(vectors: Tensor, upstream: Tensor, gradient: Tensor) -> None:
    """Write the gradient [..., 3] of the vectors for that of the matrices [..., 3, 3]."""
    _run(_matrix_backward, vectors.numel() // 3, vectors, upstream, gradient)


def rotation_vector(matrices: Tensor, vector: Tensor) -> None:
    """Write the axis-angle vectors [..., 3] of rotation matrices [..., 3, 3]."""
    _run(_vector, vector.numel() // 3, matrices, vector)


def rotation_vector_backward(matrices: Tensor, upstream: Tensor, gradient: Tensor) -> None:
    """Write the gradient [..., 3, 3] of the matrices for that of the vectors [..., 3]."""
    _run(_vector_backward, upstream.numel() // 3, matrices, upstream, gradient)
