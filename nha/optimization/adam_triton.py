"""Triton kernels of `nha/optimization/adam_ops.py`.

With TRITON_INTERPRET=1 set before the import the kernels run on the CPU (slowly, for tests).
"""

from __future__ import annotations

import math

import triton
import triton.language as tl
from torch import Tensor

from nha.optimization.adam_ops import EPS

_LANES = 1024  # elements of a program of `_uniform_step`
_ROWS, _COLUMNS = 64, 16  # of a table that a program of `_centre_rows` reads at once
_EPS = tl.constexpr(EPS)


@triton.jit
def _row_step(
    table_ptr,  # [F, K], changed, as the next but one three
    grad_ptr,  # [F, K]
    steps_ptr,  # [F]
    mean_ptr,  # [F, K]
    square_ptr,  # [F, K]
    rate_ptr,
    first,
    second,
    log2_first,
    log2_second,
    columns,
    WIDTH: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, WIDTH)
    mask = column < columns
    place = row * columns + column
    grad = tl.load(grad_ptr + place, mask=mask, other=0.0)
    if tl.max((grad != 0).to(tl.int32), 0) > 0:
        count = tl.load(steps_ptr + row) + 1
        mean = tl.load(mean_ptr + place, mask=mask, other=0.0)
        square = tl.load(square_ptr + place, mask=mask, other=0.0)
        mean += (1 - first) * (grad - mean)
        square += (1 - second) * (grad * grad - square)
        size = tl.sqrt(square / (1 - tl.exp2(count * log2_second))) + _EPS
        step = tl.load(rate_ptr) * (mean / (1 - tl.exp2(count * log2_first))) / size
        value = tl.load(table_ptr + place, mask=mask, other=0.0)
        tl.store(table_ptr + place, value - step, mask=mask)
        tl.store(mean_ptr + place, mean, mask=mask)
        tl.store(square_ptr + place, square, mask=mask)
        tl.store(steps_ptr + row, count)


@triton.jit
def _centre_rows(table_ptr, steps_ptr, rows, columns, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    total = tl.zeros([COLUMNS], tl.float32)
    count = 0.0
    for start in range(0, rows, ROWS):
        row = start + tl.arange(0, ROWS)
        stepped = tl.load(steps_ptr + row, mask=row < rows, other=0.0) > 0
        mask = stepped[:, None] & (column < columns)[None]
        place = row.to(tl.int64)[:, None] * columns + column[None]
        total += tl.sum(tl.load(table_ptr + place, mask=mask, other=0.0), 0)
        count += tl.sum(stepped.to(tl.float32), 0)
    mean = total / tl.maximum(count, 1.0)
    for start in range(0, rows, ROWS):
        row = start + tl.arange(0, ROWS)
        stepped = tl.load(steps_ptr + row, mask=row < rows, other=0.0) > 0
        mask = stepped[:, None] & (column < columns)[None]
        place = row.to(tl.int64)[:, None] * columns + column[None]
        value = tl.load(table_ptr + place, mask=mask, other=0.0)
        tl.store(table_ptr + place, value - mean[None], mask=mask)


@triton.jit
def _uniform_step(
    tensor_ptr, mean_ptr, square_ptr, steps_ptr, rate_ptr, log2_first, log2_second, count, LANES: tl.constexpr
):
    place = tl.program_id(0).to(tl.int64) * LANES + tl.arange(0, LANES)
    mask = place < count
    steps = tl.load(steps_ptr)
    size = tl.sqrt(tl.load(square_ptr) / (1 - tl.exp2(steps * log2_second))) + _EPS
    mean = tl.load(mean_ptr + place, mask=mask, other=0.0)
    step = tl.load(rate_ptr) * (mean / (1 - tl.exp2(steps * log2_first))) / size
    tl.store(tensor_ptr + place, tl.load(tensor_ptr + place, mask=mask, other=0.0) - step, mask=mask)


def adam_row_step(
    table: Tensor,
    grad: Tensor,
    steps: Tensor,
    mean: Tensor,
    square: Tensor,
    rate: Tensor,
    first: float,
    second: float,
) -> None:
    """Launch the kernel of `row_step_`; all tensors are contiguous float32."""
    rows, columns = table.shape
    _row_step[(rows,)](
        table,
        grad,
        steps,
        mean,
        square,
        rate,
        first,
        second,
        math.log2(first),
        math.log2(second),
        columns,
        WIDTH=triton.next_power_of_2(columns),
        num_warps=1,
    )


def adam_centre_rows(table: Tensor, steps: Tensor) -> None:
    """Launch the kernel of `centre_rows_`."""
    rows, columns = table.shape
    grid = (triton.cdiv(columns, _COLUMNS),)
    _centre_rows[grid](table, steps, rows, columns, ROWS=_ROWS, COLUMNS=_COLUMNS, num_warps=4)


def adam_uniform_step(
    tensor: Tensor, mean: Tensor, square: Tensor, steps: Tensor, rate: Tensor, first: float, second: float
) -> None:
    """Launch the kernel of `uniform_step_`; all tensors are contiguous float32."""
    count = tensor.numel()
    _uniform_step[(triton.cdiv(count, _LANES),)](
        tensor,
        mean,
        square,
        steps,
        rate,
        math.log2(first),
        math.log2(second),
        count,
        LANES=_LANES,
        num_warps=4,
    )
