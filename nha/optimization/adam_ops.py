"""Steps of `nha/optimization/adam_variants.py` as kernel launches; the kernels are in `adam_triton.py`."""

from __future__ import annotations

import torch
from torch import Tensor

from nha.core.launches import register_launches, uses_fused_kernels

EPS = 1e-12  # added to the root of second moments


Rate = (
    float | Tensor
)  # a learning rate; on a GPU a scalar on the device, so that graphs read its present value


def row_step_(
    table: Tensor,
    grad: Tensor,
    steps: Tensor,
    mean: Tensor,
    square: Tensor,
    rate: Rate,
    betas: tuple[float, float],
) -> None:
    """A step of the rows whose gradient is not zero, see `RowAdam`.

    Args:
        table: [F, K], changed.
        grad: [F, K].
        steps: [F, 1] number of steps of each row, changed.
        mean, square: [F, K] moments, changed.
        rate: the learning rate.
        betas: decay of the moments.
    """
    step = torch.ops.nha.adam_row_step if _is_fused(table, rate) else _row_step_twin
    step(table, grad.contiguous(), steps, mean, square, rate, *betas)


def centre_rows_(table: Tensor, steps: Tensor) -> None:
    """Subtract the mean of the rows that have taken steps [F, 1] from those rows of a table [F, K]."""
    centre = torch.ops.nha.adam_centre_rows if uses_fused_kernels(table.device) else _centre_rows_twin
    centre(table, steps)


def uniform_step_(
    tensor: Tensor, mean: Tensor, square: Tensor, steps: Tensor, rate: Rate, betas: tuple[float, float]
) -> None:
    """A step with one second moment for the whole tensor, see `UniformAdam`.

    Args:
        tensor: [...], changed.
        mean: [...] first moment.
        square: [], second moment.
        steps: [], number of steps, this one included.
        rate: the learning rate.
        betas: decay of the moments.
    """
    step = torch.ops.nha.adam_uniform_step if _is_fused(tensor, rate) else _uniform_step_twin
    step(tensor, mean, square, steps, rate, *betas)


def _is_fused(parameter: Tensor, rate: Rate) -> bool:
    """Whether a kernel steps a parameter; kernels read the rate on the device."""
    return isinstance(rate, Tensor) and uses_fused_kernels(parameter.device)


def _row_step_twin(
    table: Tensor,
    grad: Tensor,
    steps: Tensor,
    mean: Tensor,
    square: Tensor,
    rate: Rate,
    first: float,
    second: float,
) -> None:
    moved = (grad != 0).any(1, keepdim=True).to(grad)
    steps += moved
    mean += moved * (1 - first) * (grad - mean)
    square += moved * (1 - second) * (grad * grad - square)
    count = steps.clamp_min(1)
    size = (square / (1 - second**count)).sqrt() + EPS
    table -= rate * moved * (mean / (1 - first**count)) / size


def _centre_rows_twin(table: Tensor, steps: Tensor) -> None:
    stepped = (steps > 0).to(table)
    table -= stepped * ((table * stepped).sum(0) / stepped.sum().clamp_min(1))


def _uniform_step_twin(
    tensor: Tensor, mean: Tensor, square: Tensor, steps: Tensor, rate: Rate, first: float, second: float
) -> None:
    size = (square / (1 - second**steps)).sqrt() + EPS
    tensor -= rate * (mean / (1 - first**steps)) / size


register_launches(
    "nha.optimization.adam_triton",
    {
        "adam_row_step(Tensor(a!) table, Tensor grad, Tensor(b!) steps, Tensor(c!) mean, Tensor(d!) square, "
        "Tensor rate, float first, float second) -> ()": _row_step_twin,
        "adam_centre_rows(Tensor(a!) table, Tensor steps) -> ()": _centre_rows_twin,
        "adam_uniform_step(Tensor(a!) tensor, Tensor mean, Tensor square, Tensor steps, Tensor rate, float first, "
        "float second) -> ()": _uniform_step_twin,
    },
)
