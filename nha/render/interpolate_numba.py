"""Interpolation at covered pixels on the CPU, forward and backward, to a list or directly into planar images.

Plain torch sorts the rows in the gradient of a weighted sum of three rows, which took half of a tracking step. For
planar images it gathers, scatters into an image and transposes; with the two dozen channels of part labels the last two
steps cost ten times the first.
"""

from __future__ import annotations

import numba
import torch
from numba import float32, float64, int64, prange
from torch import Tensor


def _forward_signature(real):
    return numba.void(real[:, ::1], int64[:, ::1], real[:, ::1], int64[::1], int64[::1], real[:, :, ::1])


def _backward_signature(real):
    return numba.void(real[:, :, ::1], int64[:, ::1], real[:, ::1], int64[::1], int64[::1], real[:, ::1])


@numba.njit([_forward_signature(float32), _forward_signature(float64)], parallel=True, cache=True)
def _draw(table, rows, weights, image, position, planes):
    """planes[n, k, position] = sum over corners of weight * table[row, k]."""
    for p in prange(len(rows)):
        a, b, c = rows[p, 0], rows[p, 1], rows[p, 2]
        weight_a, weight_b, weight_c = weights[p, 0], weights[p, 1], weights[p, 2]
        n, pixel = image[p], position[p]
        for k in range(table.shape[1]):
            planes[n, k, pixel] = weight_a * table[a, k] + weight_b * table[b, k] + weight_c * table[c, k]


@numba.njit([_backward_signature(float32), _backward_signature(float64)], cache=True)
def _collect(planes, rows, weights, image, position, table):
    """table[row, k] += weight * planes[n, k, position]; on one thread, because pixels share rows."""
    for p in range(len(rows)):
        a, b, c = rows[p, 0], rows[p, 1], rows[p, 2]
        n, pixel = image[p], position[p]
        for k in range(table.shape[1]):
            value = planes[n, k, pixel]
            table[a, k] += weights[p, 0] * value
            table[b, k] += weights[p, 1] * value
            table[c, k] += weights[p, 2] * value


def _list_signature(real):
    return numba.void(real[:, ::1], int64[:, ::1], real[:, ::1], real[:, ::1])


@numba.njit([_list_signature(float32), _list_signature(float64)], parallel=True, cache=True)
def _gather(table, rows, weights, values):
    """values[p, k] = sum over corners of weight * table[row, k]."""
    for p in prange(len(rows)):
        a, b, c = rows[p, 0], rows[p, 1], rows[p, 2]
        weight_a, weight_b, weight_c = weights[p, 0], weights[p, 1], weights[p, 2]
        for k in range(table.shape[1]):
            values[p, k] = weight_a * table[a, k] + weight_b * table[b, k] + weight_c * table[c, k]


@numba.njit([_list_signature(float32), _list_signature(float64)], cache=True)
def _scatter(values, rows, weights, table):
    """table[row, k] += weight * values[p, k]; on one thread, because pixels share rows."""
    for p in range(len(rows)):
        for corner in range(3):
            row, weight = rows[p, corner], weights[p, corner]
            for k in range(table.shape[1]):
                table[row, k] += weight * values[p, k]


class SumRows(torch.autograd.Function):
    """Weighted sums of a table's rows, as a list.

    `SumRows.apply(table [R, C], rows [P, 3], weights [P, 3])` gives [P, C]. Differentiable once, in the table.
    """

    @staticmethod
    def forward(ctx, table: Tensor, rows: Tensor, weights: Tensor):
        table, rows, weights = table.detach().contiguous(), rows.contiguous(), weights.contiguous()
        values = table.new_empty(len(rows), table.shape[1])
        _gather(table.numpy(), rows.numpy(), weights.numpy(), values.numpy())
        ctx.save_for_backward(rows, weights)
        ctx.table_rows = len(table)
        return values

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, upstream: Tensor):
        rows, weights = ctx.saved_tensors
        table = upstream.new_zeros(ctx.table_rows, upstream.shape[1])
        _scatter(upstream.contiguous().numpy(), rows.numpy(), weights.numpy(), table.numpy())
        return table, None, None


class DrawRows(torch.autograd.Function):
    """Weighted sums of a table's rows, written into planar images.

    `DrawRows.apply(table [R, C], rows [P, 3], weights [P, 3], image [P], position [P], (N, H, W))` gives
    [N, C, H, W] with, at the flat position of each of the P pixels of image n, the weighted sum of three
    rows, and 0 elsewhere. Differentiable once, in the table.
    """

    @staticmethod
    def forward(ctx, table: Tensor, rows: Tensor, weights: Tensor, image: Tensor, position: Tensor, shape):
        batch, height, width = shape
        table, weights = table.detach().contiguous(), weights.contiguous()
        planes = table.new_zeros(batch, table.shape[1], height * width)
        _draw(table.numpy(), rows.numpy(), weights.numpy(), image.numpy(), position.numpy(), planes.numpy())
        ctx.save_for_backward(rows, weights, image, position)
        ctx.table_rows = len(table)
        return planes.view(batch, -1, height, width)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, upstream: Tensor):
        rows, weights, image, position = ctx.saved_tensors
        upstream = upstream.flatten(2).contiguous()
        table = upstream.new_zeros(ctx.table_rows, upstream.shape[1])
        _collect(
            upstream.numpy(), rows.numpy(), weights.numpy(), image.numpy(), position.numpy(), table.numpy()
        )
        return table, None, None, None, None, None
