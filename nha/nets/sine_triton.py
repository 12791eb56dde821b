"""Triton kernels of `nha/nets/sine_ops.py`.

With TRITON_INTERPRET=1 set before the import the kernels run on the CPU (slowly, for tests).
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

_LANES = 1024


@triton.jit
def _sine_backward(phase_ptr, gradient_ptr, sine_ptr, count, LANES: tl.constexpr):
    place = tl.program_id(0).to(tl.int64) * LANES + tl.arange(0, LANES)
    mask = place < count
    phase = tl.load(phase_ptr + place, mask=mask, other=0.0)
    gradient = tl.load(gradient_ptr + place, mask=mask, other=0.0)
    tl.store(gradient_ptr + place, gradient * tl.cos(phase), mask=mask)
    tl.store(sine_ptr + place, tl.sin(phase), mask=mask)


@triton.jit
def _modulated_sine(
    affine_ptr,  # all tensors are [P, H] with their own distance between rows
    frequency_ptr,
    phase_ptr,
    values_ptr,  # written
    sine_ptr,  # written
    of_affine,
    of_frequency,
    of_phase,
    of_values,
    of_sine,
    rows,
    width,
    LANES: tl.constexpr,
):
    place = tl.program_id(0).to(tl.int64) * LANES + tl.arange(0, LANES)
    row, column = place // width, place % width
    mask = row < rows
    affine = tl.load(affine_ptr + row * of_affine + column, mask=mask, other=0.0)
    frequency = tl.load(frequency_ptr + row * of_frequency + column, mask=mask, other=0.0)
    phase = tl.load(phase_ptr + row * of_phase + column, mask=mask, other=0.0)
    value = phase + frequency * affine
    tl.store(values_ptr + row * of_values + column, value, mask=mask)
    tl.store(sine_ptr + row * of_sine + column, tl.sin(value), mask=mask)


@triton.jit
def _modulated_sine_backward(
    gradient_ptr,  # of the sines, overwritten by that of the values; rows as in `_modulated_sine`
    values_ptr,
    frequency_ptr,
    affine_ptr,  # gradient, written
    of_gradient,
    of_values,
    of_frequency,
    of_affine,
    rows,
    width,
    LANES: tl.constexpr,
):
    place = tl.program_id(0).to(tl.int64) * LANES + tl.arange(0, LANES)
    row, column = place // width, place % width
    mask = row < rows
    gradient = tl.load(gradient_ptr + row * of_gradient + column, mask=mask, other=0.0)
    value = tl.load(values_ptr + row * of_values + column, mask=mask, other=0.0)
    frequency = tl.load(frequency_ptr + row * of_frequency + column, mask=mask, other=0.0)
    gradient *= tl.cos(value)
    tl.store(gradient_ptr + row * of_gradient + column, gradient, mask=mask)
    tl.store(affine_ptr + row * of_affine + column, gradient * frequency, mask=mask)


def sine_backward(phase: Tensor, gradient: Tensor, sine: Tensor) -> None:
    """Multiply the gradient by the cosines of the phases in place, and write the sines; all contiguous."""
    count = phase.numel()
    _sine_backward[(triton.cdiv(count, _LANES),)](phase, gradient, sine, count, LANES=_LANES)


def modulated_sine(affine: Tensor, frequency: Tensor, phase: Tensor, values: Tensor, sine: Tensor) -> None:
    """Write frequency * affine + phase and its sine, [P, H]."""
    tensors = (affine, frequency, phase, values, sine)
    rows, width = affine.shape
    grid = (triton.cdiv(rows * width, _LANES),)
    _modulated_sine[grid](*tensors, *(tensor.stride(0) for tensor in tensors), rows, width, LANES=_LANES)


def modulated_sine_backward(of_sine: Tensor, values: Tensor, frequency: Tensor, of_affine: Tensor) -> None:
    """Turn the gradient of sines into that of their arguments, and write that of `affine`, [P, H]."""
    tensors = (of_sine, values, frequency, of_affine)
    rows, width = of_sine.shape
    grid = (triton.cdiv(rows * width, _LANES),)
    _modulated_sine_backward[grid](
        *tensors, *(tensor.stride(0) for tensor in tensors), rows, width, LANES=_LANES
    )
