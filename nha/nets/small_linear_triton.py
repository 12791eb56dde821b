"""Triton kernels of `nha/nets/small_linear_ops.py`: products in float32, whose rows all fit into one block.

With TRITON_INTERPRET=1 set before the import the kernels run on the CPU (slowly, for tests).
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

_BLOCK = 64  # outputs or inputs of a program
_CHUNK = 32  # of the sum that is loaded at once
_FEWEST_ROWS = 16  # that tl.dot multiplies


@triton.jit
def _linear(
    x_ptr,  # [R, C]
    weight_ptr,  # [O, C]
    bias_ptr,  # [O]
    out_ptr,  # [R, O], written
    slope,
    n_scaled,
    scale,
    shift,
    rows,
    inputs,
    outputs,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
    CHUNK: tl.constexpr,
):
    output = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    row, part = tl.arange(0, ROWS), tl.arange(0, CHUNK)
    value = tl.zeros([ROWS, BLOCK], tl.float32)
    for start in range(0, inputs, CHUNK):
        column = start + part
        x_mask = (row < rows)[:, None] & (column < inputs)[None]
        x = tl.load(x_ptr + row[:, None] * inputs + column[None], mask=x_mask, other=0.0)
        w_mask = (output < outputs)[None] & (column < inputs)[:, None]
        weight = tl.load(weight_ptr + output[None] * inputs + column[:, None], mask=w_mask, other=0.0)
        value = tl.dot(x, weight, value, input_precision="ieee")
    value += tl.load(bias_ptr + output, mask=output < outputs, other=0.0)[None]
    value = tl.where(value > 0, value, slope * value)
    value = tl.where((output < n_scaled)[None], scale * value + shift, value)
    mask = (row < rows)[:, None] & (output < outputs)[None]
    tl.store(out_ptr + row[:, None] * outputs + output[None], value, mask=mask)


@triton.jit
def _of_products(
    grad_ptr, out_ptr, row, output, rows, outputs, slope, n_scaled, scale, HAS_SLOPE: tl.constexpr
):
    """The gradient of the products [ROWS, outputs of the program]."""
    mask = (row < rows)[:, None] & (output < outputs)[None]
    place = row[:, None] * outputs + output[None]
    gradient = tl.load(grad_ptr + place, mask=mask, other=0.0)
    if HAS_SLOPE:
        value = tl.load(out_ptr + place, mask=mask, other=0.0)
        gradient = tl.where(value > 0, gradient, slope * gradient)
    return tl.where((output < n_scaled)[None], scale * gradient, gradient)


@triton.jit
def _linear_inputs(
    grad_ptr,  # [R, O]
    out_ptr,  # [R, O]
    weight_ptr,  # [O, C]
    of_x_ptr,  # [R, C], written
    slope,
    n_scaled,
    scale,
    rows,
    inputs,
    outputs,
    HAS_SLOPE: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
    CHUNK: tl.constexpr,
):
    column = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    row, part = tl.arange(0, ROWS), tl.arange(0, CHUNK)
    value = tl.zeros([ROWS, BLOCK], tl.float32)
    for start in range(0, outputs, CHUNK):
        output = start + part
        gradient = _of_products(
            grad_ptr, out_ptr, row, output, rows, outputs, slope, n_scaled, scale, HAS_SLOPE
        )
        mask = (output < outputs)[:, None] & (column < inputs)[None]
        weight = tl.load(weight_ptr + output[:, None] * inputs + column[None], mask=mask, other=0.0)
        value = tl.dot(gradient, weight, value, input_precision="ieee")
    mask = (row < rows)[:, None] & (column < inputs)[None]
    tl.store(of_x_ptr + row[:, None] * inputs + column[None], value, mask=mask)


@triton.jit
def _linear_weights(
    grad_ptr,  # [R, O]
    out_ptr,  # [R, O]
    x_ptr,  # [R, C]
    of_weight_ptr,  # [O, C], written
    of_bias_ptr,  # [O], written
    slope,
    n_scaled,
    scale,
    rows,
    inputs,
    outputs,
    HAS_SLOPE: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    output = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    row = tl.arange(0, ROWS)
    gradient = _of_products(grad_ptr, out_ptr, row, output, rows, outputs, slope, n_scaled, scale, HAS_SLOPE)
    mask = (row < rows)[:, None] & (column < inputs)[None]
    x = tl.load(x_ptr + row[:, None] * inputs + column[None], mask=mask, other=0.0)
    value = tl.dot(tl.trans(gradient), x, input_precision="ieee")
    mask = (output < outputs)[:, None] & (column < inputs)[None]
    tl.store(of_weight_ptr + output[:, None] * inputs + column[None], value, mask=mask)
    # programs with the same outputs write the same sums
    tl.store(of_bias_ptr + output, tl.sum(gradient, 0), mask=output < outputs)


def _rows(count: int) -> int:
    return max(triton.next_power_of_2(count), _FEWEST_ROWS)


def small_linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    slope: float,
    n_scaled: int,
    scale: float,
    shift: float,
    out: Tensor,
) -> None:
    """Write the layer's values [R, O]; see `small_linear_ops.small_linear`."""
    (rows, inputs), outputs = x.shape, len(weight)
    _linear[(triton.cdiv(outputs, _BLOCK),)](
        x,
        weight,
        bias,
        out,
        slope,
        n_scaled,
        scale,
        shift,
        rows,
        inputs,
        outputs,
        ROWS=_rows(rows),
        BLOCK=_BLOCK,
        CHUNK=_CHUNK,
    )


def small_linear_inputs(
    grad: Tensor, out: Tensor, weight: Tensor, slope: float, n_scaled: int, scale: float, of_x: Tensor
) -> None:
    """Write the gradient of the inputs [R, C]."""
    (rows, inputs), outputs = of_x.shape, len(weight)
    _linear_inputs[(triton.cdiv(inputs, _BLOCK),)](
        grad,
        out,
        weight,
        of_x,
        slope,
        n_scaled,
        scale,
        rows,
        inputs,
        outputs,
        HAS_SLOPE=slope != 1,
        ROWS=_rows(rows),
        BLOCK=_BLOCK,
        CHUNK=_CHUNK,
    )


def small_linear_weights(
    grad: Tensor,
    out: Tensor,
    x: Tensor,
    slope: float,
    n_scaled: int,
    scale: float,
    of_weight: Tensor,
    of_bias: Tensor,
) -> None:
    """Write the gradients of the weight [O, C] and of the bias [O]."""
    (rows, inputs), outputs = x.shape, len(of_bias)
    _linear_weights[(triton.cdiv(outputs, _BLOCK), triton.cdiv(inputs, _BLOCK))](
        grad,
        out,
        x,
        of_weight,
        of_bias,
        slope,
        n_scaled,
        scale,
        rows,
        inputs,
        outputs,
        HAS_SLOPE=slope != 1,
        ROWS=_rows(rows),
        BLOCK=_BLOCK,
    )
