"""Linear layers of a few rows with their activation as kernel launches; the kernels are in `small_linear_triton.py`."""

from __future__ import annotations

import torch
from torch import Tensor

from nha.core.launches import register_launches

MOST_ROWS = 64


def small_linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    slope: float = 1.0,
    n_scaled: int = 0,
    scale: float = 1.0,
    shift: float = 0.0,
) -> Tensor:
    """y = leaky_relu(x W^T + b), of which the first columns become scale * y + shift. Differentiable once.

    Args:
        x: [R, C] with R up to MOST_ROWS.
        weight: [O, C].
        bias: [O].
        slope: of negative values; 1 for no activation.
        n_scaled: number of scaled columns; only without an activation.
        scale, shift: of those columns.

    Returns:
        [R, O].
    """
    return _SmallLinear.apply(x, weight, bias, slope, n_scaled, scale, shift)


class _SmallLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, slope, n_scaled, scale, shift):
        x = x.contiguous()
        out = x.new_empty(len(x), len(weight))
        torch.ops.nha.small_linear(x, weight, bias, slope, n_scaled, scale, shift, out)
        ctx.save_for_backward(x, weight, out)
        ctx.factors = slope, n_scaled, scale
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        x, weight, out = ctx.saved_tensors
        grad = grad.contiguous()
        of_x = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            of_x = torch.empty_like(x)
            torch.ops.nha.small_linear_inputs(grad, out, weight, *ctx.factors, of_x)
        if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
            of_weight, of_bias = torch.empty_like(weight), x.new_empty(len(weight))
            torch.ops.nha.small_linear_weights(grad, out, x, *ctx.factors, of_weight, of_bias)
        return of_x, of_weight, of_bias, None, None, None, None


def _linear_twin(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    slope: float,
    n_scaled: int,
    scale: float,
    shift: float,
    out: Tensor,
) -> None:
    value = torch.addmm(bias, x, weight.T)
    out.copy_(torch.where(value > 0, value, slope * value))
    out[:, :n_scaled].mul_(scale).add_(shift)


def _of_products(grad: Tensor, out: Tensor, slope: float, n_scaled: int, scale: float) -> Tensor:
    """The gradient of x W^T + b."""
    gradient = torch.where((out > 0) | torch.tensor(slope == 1), grad, slope * grad)
    gradient[:, :n_scaled] *= scale
    return gradient


def _inputs_twin(
    grad: Tensor, out: Tensor, weight: Tensor, slope: float, n_scaled: int, scale: float, of_x: Tensor
) -> None:
    of_x.copy_(_of_products(grad, out, slope, n_scaled, scale) @ weight)


def _weights_twin(
    grad: Tensor,
    out: Tensor,
    x: Tensor,
    slope: float,
    n_scaled: int,
    scale: float,
    of_weight: Tensor,
    of_bias: Tensor,
) -> None:
    gradient = _of_products(grad, out, slope, n_scaled, scale)
    of_weight.copy_(gradient.T @ x)
    of_bias.copy_(gradient.sum(0))


register_launches(
    "nha.nets.small_linear_triton",
    {
        "small_linear(Tensor x, Tensor weight, Tensor bias, float slope, int n_scaled, float scale, float shift, "
        "Tensor(a!) out) -> ()": _linear_twin,
        "small_linear_inputs(Tensor grad, Tensor out, Tensor weight, float slope, int n_scaled, float scale, "
        "Tensor(a!) of_x) -> ()": _inputs_twin,
        "small_linear_weights(Tensor grad, Tensor out, Tensor x, float slope, int n_scaled, float scale, "
        "Tensor(a!) of_weight, Tensor(b!) of_bias) -> ()": _weights_twin,
    },
)
