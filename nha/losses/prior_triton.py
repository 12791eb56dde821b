"""Triton kernels of `nha/losses/prior_ops.py`. One program adds up the loss; each lane writes one gradient.

With TRITON_INTERPRET=1 set before the import the kernels run on the CPU (slowly, for tests).
"""

from __future__ import annotations

from collections.abc import Sequence

import triton
import triton.language as tl
from torch import Tensor

from nha.losses.prior_ops import MOST_TABLES

_LANES = 256


@triton.jit
def _squares(table_ptr, row, width, COLUMNS: tl.constexpr):
    column = tl.arange(0, COLUMNS)
    value = tl.load(table_ptr + row * width + column, mask=column < width, other=0.0)
    return value * value


@triton.jit
def _row_prior(
    rows_ptr,  # [N] int64
    first_ptr,  # [F, C1]
    second_ptr,  # [F, C2]
    third_ptr,  # [F, C3]
    loss_ptr,  # [1], written
    n,
    c1,
    c2,
    c3,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    lane = tl.arange(0, ROWS)
    rows = tl.load(rows_ptr + lane, mask=lane < n, other=-1)
    total = tl.zeros([COLUMNS], tl.float32)
    for i in range(n):
        row = tl.load(rows_ptr + i)
        occurrences = tl.sum((rows == row).to(tl.int32), 0).to(tl.float32)
        squares = _squares(first_ptr, row, c1, COLUMNS) + _squares(second_ptr, row, c2, COLUMNS)
        total += (squares + _squares(third_ptr, row, c3, COLUMNS)) / occurrences
    tl.store(loss_ptr, tl.sum(total, 0) / 2)


@triton.jit
def _row_prior_backward(
    rows_ptr,  # [N] int64
    first_ptr,  # [F, C1]
    second_ptr,  # [F, C2]
    third_ptr,  # [F, C3]
    upstream_ptr,  # [1]
    of_first_ptr,  # [F, C1], written
    of_second_ptr,  # [F, C2], written
    of_third_ptr,  # [F, C3], written
    n,
    n_rows,
    c1,
    c2,
    c3,
    LANES: tl.constexpr,
):
    table = tl.program_id(1)
    table_ptr = tl.where(table == 0, first_ptr, tl.where(table == 1, second_ptr, third_ptr))
    gradient_ptr = tl.where(table == 0, of_first_ptr, tl.where(table == 1, of_second_ptr, of_third_ptr))
    width = tl.where(table == 0, c1, tl.where(table == 1, c2, c3)).to(tl.int64)
    place = tl.program_id(0).to(tl.int64) * LANES + tl.arange(0, LANES)
    mask = place < n_rows * width
    own = place // tl.maximum(width, 1)
    counts = own < 0
    for i in range(n):
        counts = counts | (own == tl.load(rows_ptr + i))
    value = tl.load(table_ptr + place, mask=mask & counts, other=0.0)
    tl.store(gradient_ptr + place, value * tl.load(upstream_ptr), mask=mask)


def row_prior(rows: Tensor, tables: Sequence[Tensor], loss: Tensor) -> None:
    """Write the prior; see `fused_row_prior`."""
    widths = _widths(tables)
    _row_prior[(1,)](
        rows,
        *_padded(tables),
        loss,
        len(rows),
        *widths,
        ROWS=triton.next_power_of_2(len(rows)),
        COLUMNS=triton.next_power_of_2(max(widths)),
    )


def row_prior_backward(
    rows: Tensor, tables: Sequence[Tensor], upstream: Tensor, gradients: Sequence[Tensor]
) -> None:
    """Write the gradients of the tables; rows that do not count get 0."""
    widths, n_rows = _widths(tables), len(tables[0])
    _row_prior_backward[(triton.cdiv(n_rows * max(widths), _LANES), len(tables))](
        rows,
        *_padded(tables),
        upstream,
        *_padded(gradients),
        len(rows),
        n_rows,
        *widths,
        LANES=_LANES,
    )


def _padded(tables: Sequence[Tensor]) -> list[Tensor]:
    """Three tables for the kernel, which has no lists; those that were added have width 0."""
    return [*tables, *[tables[0]] * (MOST_TABLES - len(tables))]


def _widths(tables: Sequence[Tensor]) -> list[int]:
    return [*(table.shape[1] for table in tables), *[0] * (MOST_TABLES - len(tables))]
