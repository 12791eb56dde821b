"""Triton kernels of `nha/nets/fold_ops.py`: one program for each row of the layers' weights.

With TRITON_INTERPRET=1 set before the import the kernels run on the CPU (slowly, for tests).
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def _fold(
    frequency_ptr,  # [N, R], R rows of all layers
    phase_ptr,  # [N, R]
    bias_ptr,  # [R]
    first_ptr,  # [H, C]
    later_ptr,  # [R - H, H]
    out_first_ptr,  # [N, H, C]
    out_later_ptr,  # [N, R - H, H]
    out_biases_ptr,  # [N, R]
    n,
    rows,
    width,
    inputs,
    LANES: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    lane = tl.arange(0, LANES)
    # lanes of a row of the first layer's weights, or of another layer's
    in_first = lane < tl.where(row < width, inputs, 0)
    in_later = lane < tl.where(row < width, 0, width)
    first_place, later_place = row * inputs + lane, (row - width) * width + lane
    weight = tl.load(first_ptr + first_place, mask=in_first, other=0.0)
    weight += tl.load(later_ptr + later_place, mask=in_later, other=0.0)
    bias = tl.load(bias_ptr + row)
    for i in range(n):
        frequency = tl.load(frequency_ptr + i * rows + row)
        value = frequency * weight
        tl.store(out_first_ptr + i * width * inputs + first_place, value, mask=in_first)
        tl.store(out_later_ptr + i * (rows - width) * width + later_place, value, mask=in_later)
        phase = tl.load(phase_ptr + i * rows + row)
        tl.store(out_biases_ptr + i * rows + row, phase + frequency * bias)


@triton.jit
def _fold_backward(
    of_first_ptr,  # [N, H, C], gradients of the results
    of_later_ptr,  # [N, R - H, H]
    of_biases_ptr,  # [N, R]
    frequency_ptr,  # [N, R]
    bias_ptr,  # [R]
    first_ptr,  # [H, C]
    later_ptr,  # [R - H, H]
    of_frequency_ptr,  # [N, R], written
    of_bias_ptr,  # [R], written
    of_first_weight_ptr,  # [H, C], written
    of_later_weight_ptr,  # [R - H, H], written
    n,
    rows,
    width,
    inputs,
    LANES: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    lane = tl.arange(0, LANES)
    # lanes of a row of the first layer's weights, or of another layer's
    in_first = lane < tl.where(row < width, inputs, 0)
    in_later = lane < tl.where(row < width, 0, width)
    first_place, later_place = row * inputs + lane, (row - width) * width + lane
    weight = tl.load(first_ptr + first_place, mask=in_first, other=0.0)
    weight += tl.load(later_ptr + later_place, mask=in_later, other=0.0)
    bias = tl.load(bias_ptr + row)
    of_weight = tl.zeros([LANES], tl.float32)
    of_bias = 0.0
    for i in range(n):
        gradient = tl.load(of_first_ptr + i * width * inputs + first_place, mask=in_first, other=0.0)
        own = of_later_ptr + i * (rows - width) * width
        gradient += tl.load(own + later_place, mask=in_later, other=0.0)
        frequency = tl.load(frequency_ptr + i * rows + row)
        of_result = tl.load(of_biases_ptr + i * rows + row)
        tl.store(of_frequency_ptr + i * rows + row, tl.sum(gradient * weight) + of_result * bias)
        of_weight += gradient * frequency
        of_bias += of_result * frequency
    tl.store(of_bias_ptr + row, of_bias)
    tl.store(of_first_weight_ptr + first_place, of_weight, mask=in_first)
    tl.store(of_later_weight_ptr + later_place, of_weight, mask=in_later)


def fold(frequency: Tensor, phase: Tensor, bias: Tensor, first: Tensor, later: Tensor, *outs: Tensor) -> None:
    """Write the folded weights and biases; all tensors are contiguous."""
    tensors = (frequency, phase, bias, first, later, *outs)
    _fold[(len(bias),)](*tensors, *_sizes(frequency, first))


def fold_backward(
    of_first: Tensor,
    of_later: Tensor,
    of_biases: Tensor,
    frequency: Tensor,
    bias: Tensor,
    first: Tensor,
    later: Tensor,
    *outs: Tensor,
) -> None:
    """Write the gradients of frequencies, biases and weights; all tensors are contiguous."""
    tensors = (of_first, of_later, of_biases, frequency, bias, first, later, *outs)
    _fold_backward[(len(bias),)](*tensors, *_sizes(frequency, first))


def _sizes(frequency: Tensor, first: Tensor) -> tuple[int, ...]:
    """The kernels' last arguments: numbers of conditions and rows, width, inputs, and lanes of a row."""
    width, inputs = first.shape
    return *frequency.shape, width, inputs, triton.next_power_of_2(max(width, inputs))
