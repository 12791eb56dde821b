"""Antialiasing on the CPU with numba: silhouettes between pixels, and the blending with its gradients.

The silhouettes are found once, as a short list, and used forward and backward. The arithmetic is that of
`antialias_reference`, in float32. One thread, so that sums have a fixed order.
"""

from __future__ import annotations

import numba
import numpy as np
import torch
from numba import float32, float64, int8, int64
from torch import Tensor

from nha.render.antialias_reference import (
    CONNECTED,
    EDGE_ON,
    LOST,
    MAX_STEPS,
    MIN_AREA_PX,
    NOT_DRAWN,
    PASSED,
    POSITION_SLACK,
    SILHOUETTE,
)
from nha.render.camera import MIN_DEPTH_METRES

_MIN_DEPTH = np.float32(MIN_DEPTH_METRES)
_MIN_AREA = np.float32(MIN_AREA_PX)
_LOWEST, _HIGHEST = np.float32(-POSITION_SLACK), np.float32(1 + POSITION_SLACK)
_ONE, _HALF = np.float32(1), np.float32(0.5)


@numba.njit(int8[::1](float32[:, ::1], int64[:, ::1]), cache=True)
def _face_facing(screen, faces):
    """`face_facing` of one mesh: [F]."""
    facing = np.empty(len(faces), np.int8)
    for f in range(len(faces)):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ax, ay, bx, by = screen[a, 0], screen[a, 1], screen[b, 0], screen[b, 1]
        cx, cy = screen[c, 0], screen[c, 1]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        drawn = screen[a, 2] > _MIN_DEPTH and screen[b, 2] > _MIN_DEPTH and screen[c, 2] > _MIN_DEPTH
        if not (drawn and np.isfinite(area)):
            facing[f] = NOT_DRAWN
        elif area > _MIN_AREA:
            facing[f] = 1
        else:
            facing[f] = -1 if area < -_MIN_AREA else EDGE_ON
    return facing


@numba.njit(cache=True, inline="always", error_model="numpy")
def _crossing(screen, low, high, axis, along, across):
    """Position of an edge's crossing with a line, and its share of the way from the low to the high vertex."""
    share = (across - screen[low, 1 - axis]) / (screen[high, 1 - axis] - screen[low, 1 - axis])
    return screen[low, axis] + share * (screen[high, axis] - screen[low, axis]) - along, share


@numba.njit(cache=True, error_model="numpy")
def _walk(screen, faces, neighbours, all_facing, axis, face, goal, along, across, forward):
    """Walk as `_MeshOnScreen.walk` does: how it ends, and the last edge's low and high vertex."""
    facing = all_facing[face]
    if goal >= 0 and all_facing[goal] == facing:
        for k in range(3):
            if neighbours[face, k] == goal:
                return CONNECTED, int64(-1), int64(-1)
    low, high = int64(-1), int64(-1)
    for _ in range(MAX_STEPS):
        position = np.float32(-np.inf)
        exit_low, exit_high, following = int64(-1), int64(-1), int64(-1)
        for k in range(3):
            start, end = faces[face, k], faces[face, (k + 1) % 3]
            start_is_low = screen[start, 1 - axis] < across
            if start_is_low == (screen[end, 1 - axis] < across):
                continue
            edge_low, edge_high = (start, end) if start_is_low else (end, start)
            if edge_low == low and edge_high == high:
                continue
            crossing, _ = _crossing(screen, edge_low, edge_high, axis, along, across)
            if not forward:
                crossing = _ONE - crossing
            if crossing > position:
                position, exit_low, exit_high, following = crossing, edge_low, edge_high, neighbours[face, k]
        low, high = exit_low, exit_high
        if not position >= _LOWEST:
            return LOST, low, high
        if position > _HIGHEST:
            return PASSED, low, high
        facing_there = NOT_DRAWN if following < 0 else all_facing[following]
        if facing_there == NOT_DRAWN or facing_there * facing < 0:
            return SILHOUETTE, low, high
        if following == goal:
            return CONNECTED, low, high
        if facing == EDGE_ON:
            facing = facing_there
        face = following
    return LOST, low, high


@numba.njit(cache=True, error_model="numpy")
def _silhouette(screen, faces, neighbours, facing, axis, face_a, face_b, z_a, z_b, along, across):
    """The silhouette between two pixels: whether there is one that counts, its low and high vertex."""
    forward = face_b < 0 or (face_a >= 0 and z_a <= z_b)
    near, far = (face_a, face_b) if forward else (face_b, face_a)
    ending, low, high = _walk(screen, faces, neighbours, facing, axis, near, far, along, across, forward)
    if ending == PASSED and far >= 0:
        ending, low, high = _walk(
            screen, faces, neighbours, facing, axis, far, near, along, across, not forward
        )
    if ending != SILHOUETTE:
        return False, low, high
    run_along = abs(screen[high, axis] - screen[low, axis])
    run_across = abs(screen[high, 1 - axis] - screen[low, 1 - axis])
    return run_along < run_across or (axis == 0 and run_along == run_across), low, high


@numba.njit(
    numba.types.Tuple((int64[:, ::1], float32[:, ::1]))(
        int64[:, :, ::1], float32[:, :, ::1], float32[:, :, ::1], int64[:, ::1], int64[:, ::1]
    ),
    cache=True,
    error_model="numpy",
)
def _find_silhouettes(face_index, depth, screen, faces, neighbours):
    """The pairs of pixels to blend.

    Returns:
        pairs [K, 6]: image, target pixel, source pixel, axis, low vertex, high vertex;
        numbers [K, 3]: s (see `antialias_reference`), the crossing's share of the way from low to high, the edge's
        slope: its extent along the axis over the extent across.
    """
    batch, height, width = face_index.shape
    # not initialised: memory that is never written costs nothing
    pairs = np.empty((2 * batch * height * width, 6), np.int64)
    numbers = np.empty((2 * batch * height * width, 3), np.float32)
    count = 0
    for n in range(batch):
        facing = _face_facing(screen[n], faces)
        for row in range(height):
            for column in range(width):
                face, z = face_index[n, row, column], depth[n, row, column]
                for axis in range(2):
                    row_b, column_b = row + axis, column + 1 - axis
                    if row_b == height or column_b == width or face_index[n, row_b, column_b] == face:
                        continue
                    face_b, z_b = face_index[n, row_b, column_b], depth[n, row_b, column_b]
                    u, v = np.float32(column) + _HALF, np.float32(row) + _HALF
                    along, across = (u, v) if axis == 0 else (v, u)
                    found, low, high = _silhouette(
                        screen[n], faces, neighbours, facing, axis, face, face_b, z, z_b, along, across
                    )
                    if not found:
                        continue
                    position, share = _crossing(screen[n], low, high, axis, along, across)
                    run = screen[n, high, axis] - screen[n, low, axis]
                    first, second = row * width + column, row_b * width + column_b
                    target, source = (second, first) if position > _HALF else (first, second)
                    pair, number = pairs[count], numbers[count]
                    pair[0], pair[1], pair[2], pair[3], pair[4], pair[5] = n, target, source, axis, low, high
                    number[0], number[1] = position - _HALF, share
                    number[2] = run / (screen[n, high, 1 - axis] - screen[n, low, 1 - axis])
                    count += 1
    return pairs[:count].copy(), numbers[:count].copy()


@numba.njit(float32[::1](int64[:, ::1], float32[:, ::1], int64, int64), cache=True)
def _limited_shares(pairs, numbers, batch, pixels):
    """|s| of each pair, divided by their sum at the target pixel where that exceeds 1."""
    total = np.zeros((batch, pixels), np.float32)
    shares = np.abs(numbers[:, 0])
    for k in range(len(pairs)):
        total[pairs[k, 0], pairs[k, 1]] += shares[k]
    for k in range(len(pairs)):
        shares[k] /= max(total[pairs[k, 0], pairs[k, 1]], _ONE)
    return shares


def _forward_signature(real):
    return numba.void(real[:, :, ::1], real[:, :, ::1], int64[:, ::1], float32[::1])


def _backward_signature(real):
    return numba.void(
        real[:, :, ::1], real[:, :, ::1], int64[:, ::1], float32[:, ::1], float32[::1], real[:, :, ::1],
        real[:, :, ::1],
    )  # fmt: skip


@numba.njit([_forward_signature(float32), _forward_signature(float64)], cache=True)
def _blend(values, blended, pairs, shares):
    """Add the pairs' shares to `blended`, a copy of values [N, C, H * W]."""
    for k in range(len(pairs)):
        n, target, source = pairs[k, 0], pairs[k, 1], pairs[k, 2]
        for channel in range(values.shape[1]):
            difference = values[n, channel, source] - values[n, channel, target]
            blended[n, channel, target] += shares[k] * difference


@numba.njit([_backward_signature(float32), _backward_signature(float64)], cache=True)
def _blend_backward(values, upstream, pairs, numbers, shares, values_gradient, screen_gradient):
    """Gradients of `_blend`: values_gradient is a copy of upstream at first, screen_gradient [N, V, 3] is 0."""
    for k in range(len(pairs)):
        n, target, source = pairs[k, 0], pairs[k, 1], pairs[k, 2]
        axis, low, high = pairs[k, 3], pairs[k, 4], pairs[k, 5]
        share_gradient = 0.0
        for channel in range(values.shape[1]):
            up = upstream[n, channel, target]
            values_gradient[n, channel, target] -= shares[k] * up
            values_gradient[n, channel, source] += shares[k] * up
            share_gradient += up * (values[n, channel, source] - values[n, channel, target])
        s, way, slope = numbers[k, 0], numbers[k, 1], numbers[k, 2]
        if s == 0:
            continue
        position_gradient = share_gradient * shares[k] / s
        screen_gradient[n, low, axis] += (1 - way) * position_gradient
        screen_gradient[n, high, axis] += way * position_gradient
        screen_gradient[n, low, 1 - axis] -= (1 - way) * slope * position_gradient
        screen_gradient[n, high, 1 - axis] -= way * slope * position_gradient


class _Blend(torch.autograd.Function):
    """`_Blend.apply(values [N, C, H, W], screen [N, V, 3], pairs, numbers)`; differentiable once in both tensors."""

    @staticmethod
    def forward(ctx, values: Tensor, screen: Tensor, pairs: Tensor, numbers: Tensor):
        rows = values.detach().flatten(2).contiguous()  # [N, C, H * W]
        shares = _limited_shares(pairs.numpy(), numbers.numpy(), len(rows), rows.shape[2])
        blended = rows.clone()
        _blend(rows.numpy(), blended.numpy(), pairs.numpy(), shares)
        ctx.save_for_backward(rows, pairs, numbers, torch.from_numpy(shares))
        ctx.screen_shape, ctx.screen_dtype = screen.shape, screen.dtype
        return blended.view(values.shape)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, upstream: Tensor):
        saved = [tensor.numpy() for tensor in ctx.saved_tensors]
        rows, pairs, numbers, shares = saved
        upstream_rows = upstream.flatten(2).contiguous()
        values_gradient = upstream_rows.clone()
        screen_gradient = upstream.new_zeros(ctx.screen_shape)
        _blend_backward(
            rows,
            upstream_rows.numpy(),
            pairs,
            numbers,
            shares,
            values_gradient.numpy(),
            screen_gradient.numpy(),
        )
        return values_gradient.view(upstream.shape), screen_gradient.to(ctx.screen_dtype), None, None


def antialias_numba(
    values: Tensor, face_index: Tensor, depth: Tensor, screen: Tensor, faces: Tensor, neighbours: Tensor
) -> Tensor:
    """Blend pixels at silhouettes; arguments and result as `antialias_reference`'s."""
    mesh = (face_index, depth, screen.detach().float(), faces, neighbours)
    pairs, numbers = _find_silhouettes(*(tensor.detach().contiguous().numpy() for tensor in mesh))
    return _Blend.apply(values, screen, torch.from_numpy(pairs), torch.from_numpy(numbers))
