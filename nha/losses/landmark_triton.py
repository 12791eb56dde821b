"""Triton kernels of `nha/losses/landmark_ops.py`. One program adds up a loss; each lane writes one point's gradient.

With TRITON_INTERPRET=1 set before the import the kernels run on the CPU (slowly, for tests).
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

_LANES = 256
_PAIRS = tl.constexpr(4)  # of lids; the first two are those of the right eye


@triton.jit
def _difference(points_ptr, target_ptr, confidence_ptr, counts_ptr, point, mask, n_landmarks, columns):
    """Differences in pixels in x and y, and confidences, all 0 where a point does not count."""
    counts = tl.load(counts_ptr + point % n_landmarks, mask=mask, other=0) != 0
    counted = tl.load(confidence_ptr + point, mask=mask & counts, other=0.0)
    counts = counted > 0
    x = tl.load(points_ptr + point * columns, mask=counts, other=0.0)
    y = tl.load(points_ptr + point * columns + 1, mask=counts, other=0.0)
    x -= tl.load(target_ptr + point * 2, mask=counts, other=0.0)
    y -= tl.load(target_ptr + point * 2 + 1, mask=counts, other=0.0)
    return x, y, counted


@triton.jit
def _sign(x):
    return tl.where(x > 0, 1.0, tl.where(x < 0, -1.0, 0.0))


@triton.jit
def _landmark_loss(
    points_ptr,  # [N, L, C]
    target_ptr,  # [N, L, 2]
    confidence_ptr,  # [N, L]
    counts_ptr,  # [L] int32
    loss_ptr,  # [1], written
    scale_x,
    scale_y,
    n_points,
    n_landmarks,
    columns,
    LANES: tl.constexpr,
):
    total = tl.zeros([LANES], tl.float32)
    for start in range(0, n_points, LANES):
        point = start + tl.arange(0, LANES)
        x, y, counted = _difference(
            points_ptr,
            target_ptr,
            confidence_ptr,
            counts_ptr,
            point,
            point < n_points,
            n_landmarks,
            columns,
        )
        total += (tl.abs(x) * scale_x + tl.abs(y) * scale_y) * counted
    tl.store(loss_ptr, tl.sum(total, 0) / n_points)


@triton.jit
def _landmark_loss_backward(
    points_ptr,  # [N, L, C]
    target_ptr,  # [N, L, 2]
    confidence_ptr,  # [N, L]
    counts_ptr,  # [L] int32
    upstream_ptr,  # [1]
    gradient_ptr,  # [N, L, C], written
    scale_x,
    scale_y,
    n_points,
    n_landmarks,
    columns,
    LANES: tl.constexpr,
):
    point = tl.program_id(0) * LANES + tl.arange(0, LANES)
    mask = point < n_points
    x, y, counted = _difference(
        points_ptr, target_ptr, confidence_ptr, counts_ptr, point, mask, n_landmarks, columns
    )
    factor = tl.load(upstream_ptr) * counted / n_points
    tl.store(gradient_ptr + point * columns, _sign(x) * scale_x * factor, mask=mask)
    tl.store(gradient_ptr + point * columns + 1, _sign(y) * scale_y * factor, mask=mask)
    for column in range(2, columns):
        tl.store(gradient_ptr + point * columns + column, tl.zeros([LANES], tl.float32), mask=mask)


@triton.jit
def _lids(
    points_ptr, heights_ptr, pairs_ptr, frame, pair, mask, n_landmarks, columns, image_height, eps
):  # lanes: pairs of frames
    """Differences in x and y, openings and their errors, in image heights."""
    upper = tl.load(pairs_ptr + pair * 2, mask=mask, other=0)
    lower = tl.load(pairs_ptr + pair * 2 + 1, mask=mask, other=0)
    upper = points_ptr + (frame * n_landmarks + upper) * columns
    lower = points_ptr + (frame * n_landmarks + lower) * columns
    x = tl.load(upper, mask=mask, other=0.0) - tl.load(lower, mask=mask, other=0.0)
    y = tl.load(upper + 1, mask=mask, other=0.0) - tl.load(lower + 1, mask=mask, other=0.0)
    x, y = x / image_height, y / image_height
    opening = tl.sqrt(x * x + y * y + eps)
    height = tl.load(heights_ptr + frame * 2 + tl.where(pair < 2, 1, 0), mask=mask, other=0.0)
    return x, y, opening, opening - height / image_height


@triton.jit
def _eye_closure_loss(
    points_ptr,  # [N, L, C]
    heights_ptr,  # [N, 2], left and right eye
    trust_ptr,  # [N]
    pairs_ptr,  # [4, 2] int32
    loss_ptr,  # [1], written
    image_height,
    eps,
    n,
    n_landmarks,
    columns,
    LANES: tl.constexpr,
):
    total = tl.zeros([LANES], tl.float32)
    for start in range(0, n * _PAIRS, LANES):
        lane = start + tl.arange(0, LANES)
        mask = lane < n * _PAIRS
        frame, pair = lane // _PAIRS, lane % _PAIRS
        _, _, _, error = _lids(
            points_ptr, heights_ptr, pairs_ptr, frame, pair, mask, n_landmarks, columns, image_height, eps
        )
        total += tl.abs(error) * tl.load(trust_ptr + frame, mask=mask, other=0.0)
    tl.store(loss_ptr, tl.sum(total, 0) / n)


@triton.jit
def _eye_closure_loss_backward(
    points_ptr,  # [N, L, C]
    heights_ptr,  # [N, 2], left and right eye
    trust_ptr,  # [N]
    pairs_ptr,  # [4, 2] int32
    upstream_ptr,  # [1]
    gradient_ptr,  # [N, L, C], written
    image_height,
    eps,
    n,
    n_landmarks,
    columns,
    LANES: tl.constexpr,
):
    lane = tl.program_id(0) * LANES + tl.arange(0, LANES)
    mask = lane < n * n_landmarks
    frame, point = lane // n_landmarks, lane % n_landmarks
    pair = tl.full([LANES], -1, tl.int32)  # the pair of each point, and whether it is its upper point
    direction = tl.zeros([LANES], tl.float32)
    for k in range(_PAIRS):
        is_upper = point == tl.load(pairs_ptr + k * 2)
        is_lower = point == tl.load(pairs_ptr + k * 2 + 1)
        pair = tl.where(is_upper | is_lower, k, pair)
        direction = tl.where(is_upper, 1.0, tl.where(is_lower, -1.0, direction))
    is_lid = mask & (pair >= 0)
    x, y, opening, error = _lids(
        points_ptr, heights_ptr, pairs_ptr, frame, pair, is_lid, n_landmarks, columns, image_height, eps
    )
    factor = tl.load(upstream_ptr) * tl.load(trust_ptr + frame, mask=is_lid, other=0.0) / n
    factor = tl.where(is_lid, direction * _sign(error) * factor / (opening * image_height), 0.0)
    tl.store(gradient_ptr + lane * columns, x * factor, mask=mask)
    tl.store(gradient_ptr + lane * columns + 1, y * factor, mask=mask)
    for column in range(2, columns):
        tl.store(gradient_ptr + lane * columns + column, tl.zeros([LANES], tl.float32), mask=mask)


def landmark_loss(
    points: Tensor,
    target: Tensor,
    confidence: Tensor,
    counts: Tensor,
    scale_x: float,
    scale_y: float,
    loss: Tensor,
) -> None:
    """Write the loss; see `fused_landmark_loss`."""
    n, landmarks, columns = points.shape
    sizes = n * landmarks, landmarks, columns
    _landmark_loss[(1,)](points, target, confidence, counts, loss, scale_x, scale_y, *sizes, LANES=_LANES)


def landmark_loss_backward(
    points: Tensor,
    target: Tensor,
    confidence: Tensor,
    counts: Tensor,
    scale_x: float,
    scale_y: float,
    upstream: Tensor,
    gradient: Tensor,
) -> None:
    """Write the gradient of the points [N, L, C]."""
    n, landmarks, columns = points.shape
    tensors = points, target, confidence, counts, upstream, gradient
    _landmark_loss_backward[(triton.cdiv(n * landmarks, _LANES),)](
        *tensors, scale_x, scale_y, n * landmarks, landmarks, columns, LANES=_LANES
    )


def eye_closure_loss(
    points: Tensor,
    heights: Tensor,
    trust: Tensor,
    pairs: Tensor,
    image_height: float,
    eps: float,
    loss: Tensor,
) -> None:
    """Write the loss; see `fused_eye_closure_loss`."""
    tensors = points, heights, trust, pairs, loss
    _eye_closure_loss[(1,)](*tensors, image_height, eps, *points.shape, LANES=_LANES)


def eye_closure_loss_backward(
    points: Tensor,
    heights: Tensor,
    trust: Tensor,
    pairs: Tensor,
    image_height: float,
    eps: float,
    upstream: Tensor,
    gradient: Tensor,
) -> None:
    """Write the gradient of the points [N, L, C]."""
    n, landmarks, _ = points.shape
    tensors = points, heights, trust, pairs, upstream, gradient
    _eye_closure_loss_backward[(triton.cdiv(n * landmarks, _LANES),)](
        *tensors, image_height, eps, *points.shape, LANES=_LANES
    )
