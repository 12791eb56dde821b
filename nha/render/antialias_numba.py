"""Antialiasing on the CPU with numba: the blending of pixels and its gradients.

Silhouettes are found once, as a short list of pairs of pixels, which serves forward and backward. All runs on one
thread, so that sums have a fixed order.
"""

from __future__ import annotations

import numba
import numpy as np
import torch
from numba import float32, float64, int64
from torch import Tensor

from nha.render.antialias_silhouettes_numba import find_silhouettes


@numba.njit(float32[::1](int64[:, ::1], float32[:, ::1], int64, int64), cache=True)
def _limited_shares(pairs, numbers, batch, pixels):
    """|s| of each pair, divided by their sum at the target pixel where that exceeds 1."""
    total = np.zeros((batch, pixels), np.float32)
    shares = np.abs(numbers[:, 0])
    for k in range(len(pairs)):
        total[pairs[k, 0], pairs[k, 1]] += shares[k]
    for k in range(len(pairs)):
        shares[k] /= max(total[pairs[k, 0], pairs[k, 1]], np.float32(1))
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
    pairs, numbers = find_silhouettes(*(tensor.detach().contiguous().numpy() for tensor in mesh))
    return _Blend.apply(values, screen, torch.from_numpy(pairs), torch.from_numpy(numbers))
