"""Priors of rows of tables as one kernel launch each way; the kernels are in `nha/losses/prior_triton.py`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nha.core.launches import register_launches

MOST_TABLES = 3


def fused_row_prior(rows: Tensor, *tables: Tensor) -> Tensor:
    """Half the sum of squares of rows of tables, a scalar.

    Args:
        rows: [N] long; a repeated row counts once.
        tables: up to `MOST_TABLES` tables [F, C] float32 with the same number of rows.
    """
    return _RowPrior.apply(rows, *tables)


class _RowPrior(torch.autograd.Function):
    @staticmethod
    def forward(ctx, rows: Tensor, *tables: Tensor) -> Tensor:
        rows, tables = rows.contiguous(), [table.contiguous() for table in tables]
        loss = tables[0].new_empty(())
        torch.ops.nha.row_prior(rows, tables, loss)
        ctx.save_for_backward(rows, *tables)
        return loss

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, upstream: Tensor) -> tuple[Tensor | None, ...]:
        rows, *tables = ctx.saved_tensors
        gradients = [torch.empty_like(table) for table in tables]
        torch.ops.nha.row_prior_backward(rows, tables, upstream, gradients)
        return None, *gradients


def _row_prior_twin(rows: Tensor, tables: Sequence[Tensor], loss: Tensor) -> None:
    occurrences = (rows[:, None] == rows).sum(1, keepdim=True)
    loss.copy_(sum((table[rows].square() / occurrences).sum() for table in tables) / 2)


def _row_prior_backward_twin(
    rows: Tensor, tables: Sequence[Tensor], upstream: Tensor, gradients: Sequence[Tensor]
) -> None:
    for table, gradient in zip(tables, gradients, strict=True):
        gradient.zero_()
        gradient[rows] = table[rows] * upstream


register_launches(
    "nha.losses.prior_triton",
    {
        "row_prior(Tensor rows, Tensor[] tables, Tensor(a!) loss) -> ()": _row_prior_twin,
        "row_prior_backward(Tensor rows, Tensor[] tables, Tensor upstream, Tensor(a!)[] gradients) -> ()": (
            _row_prior_backward_twin
        ),
    },
)
