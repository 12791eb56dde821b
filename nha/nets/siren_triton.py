"""The layers of a folded FiLM-SIREN as Triton kernels: all layers of a tile of points in one launch.

`nha/nets/siren_ops.py` calls the launches at the end of this file.

Only the phase of each sine is kept between layers and for the backward pass, as a 16-bit fraction of a turn. It is
computed in float32 and rounded to 1/65536 of a turn (5e-5 rad); integers wrap around, which removes whole turns.
Sine and cosine are recomputed from it where they are needed.

Forward, the factors of the products have the type of the weights (float16 has the mantissa of tf32, and sines and
folded weights fit its range). Backward they have that of the gradients (bfloat16, or float32 for tf32 products). All
sums are in float32. Weight gradients are sums over sections of the points, added in a fixed order, without atomics.

With TRITON_INTERPRET=1 set before the import the kernels run on the CPU (slowly, for tests; not with bfloat16, which
the interpreter multiplies as integers).
"""

from __future__ import annotations

import math

import triton
import triton.language as tl
from torch import Tensor

from nha.nets.siren_ops import chunk_of

# points of a tile; on an H100 registers suffice for 128 forward (24 bytes are spilled) and for 64 backward
FORWARD_POINTS, BACKWARD_POINTS = 128, 64
WEIGHT_BLOCK = 128  # rows and columns of a weight gradient that a program computes

_PER_RADIAN = tl.constexpr(65536 / (2 * math.pi))
_TURN = tl.constexpr(1 / 65536)
_QUARTER = tl.constexpr(16384)
# sin(2 pi q) for |q| <= 1/4 as q times a polynomial of q^2; the largest error is 7e-7
_C0, _C1 = tl.constexpr(6.283164), tl.constexpr(-41.337142)
_C2, _C3 = tl.constexpr(81.340766), tl.constexpr(-70.993408)


@triton.jit
def _turns(phase):
    """Phases in radians as 16-bit fractions of a turn."""
    return tl.floor(phase * _PER_RADIAN + 0.5).to(tl.int32).to(tl.int16)


@triton.jit
def _sine(turns):
    """The sine of 16-bit fractions of a turn, float32."""
    q = turns.to(tl.float32) * _TURN
    q = tl.where(tl.abs(q) > 0.25, tl.where(q > 0, 0.5, -0.5) - q, q)
    square = q * q
    return q * (_C0 + square * (_C1 + square * (_C2 + square * _C3)))


@triton.jit
def _cosine(turns):
    """The cosine of 16-bit fractions of a turn, float32."""
    return _sine((turns.to(tl.int32) + _QUARTER).to(tl.int16))


@triton.jit
def _forward(
    x_ptr,  # [P, C] float32
    first_ptr,  # [N, C, H] weights of the first layer, transposed
    weights_ptr,  # [N, L - 1, H, H] weights of the others, transposed
    biases_ptr,  # [N, L, H] float32
    turns_ptr,  # [N, SLOTS, P, H] int16, written: phases of all layers but the last
    out_ptr,  # [N, P, H] float32, written: phase of the last layer in radians
    points,
    inputs,
    LAYERS: tl.constexpr,
    SLOTS: tl.constexpr,
    WIDTH: tl.constexpr,
    POINTS: tl.constexpr,
    CHUNK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64) * POINTS + tl.arange(0, POINTS)
    condition = tl.program_id(1).to(tl.int64)
    inside = (row < points)[:, None]
    unit, part = tl.arange(0, WIDTH), tl.arange(0, CHUNK)

    phase = tl.zeros([POINTS, WIDTH], tl.float32)
    for start in range(0, inputs, CHUNK):
        column = start + part
        is_input = column < inputs
        x = tl.load(x_ptr + row[:, None] * inputs + column[None], mask=inside & is_input[None], other=0.0)
        place = (condition * inputs + column)[:, None] * WIDTH + unit[None]
        weight = tl.load(first_ptr + place, mask=is_input[:, None], other=0.0)
        phase = tl.dot(x.to(weight.dtype), weight, phase, input_precision="tf32")
    phase += tl.load(biases_ptr + condition * LAYERS * WIDTH + unit)[None]

    for layer in range(1, LAYERS):
        own = turns_ptr + ((condition * SLOTS + (layer - 1) % SLOTS) * points + row)[:, None] * WIDTH
        tl.store(own + unit[None], _turns(phase), mask=inside)
        tl.debug_barrier()  # all threads of the program read what all have written
        weights = weights_ptr + (condition * (LAYERS - 1) + layer - 1) * WIDTH * WIDTH
        phase = tl.zeros([POINTS, WIDTH], tl.float32)
        for start in range(0, WIDTH, CHUNK):
            column = start + part
            turns = tl.load(own + column[None], mask=inside, other=0)
            weight = tl.load(weights + column[:, None] * WIDTH + unit[None])
            phase = tl.dot(_sine(turns).to(weight.dtype), weight, phase, input_precision="tf32")
        phase += tl.load(biases_ptr + (condition * LAYERS + layer) * WIDTH + unit)[None]
    tl.store(out_ptr + (condition * points + row)[:, None] * WIDTH + unit[None], phase, mask=inside)


@triton.jit
def _backward(
    turns_ptr,  # [N, L - 1, P, H] int16
    weights_ptr,  # [N, L - 1, H, H] weights of the layers after the first, not transposed
    gradients_ptr,  # [N, L, P, H]: gradients of the phases; the last layer's are read, the others written
    points,
    LAYERS: tl.constexpr,
    WIDTH: tl.constexpr,
    POINTS: tl.constexpr,
    CHUNK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64) * POINTS + tl.arange(0, POINTS)
    condition = tl.program_id(1).to(tl.int64)
    inside = (row < points)[:, None]
    unit, part = tl.arange(0, WIDTH), tl.arange(0, CHUNK)
    for step in range(1, LAYERS):
        layer = LAYERS - step
        upper = gradients_ptr + ((condition * LAYERS + layer) * points + row)[:, None] * WIDTH
        lower = gradients_ptr + ((condition * LAYERS + layer - 1) * points + row)[:, None] * WIDTH
        of_layer = condition * (LAYERS - 1) + layer - 1
        weights = weights_ptr + of_layer * WIDTH * WIDTH
        of_sine = tl.zeros([POINTS, WIDTH], tl.float32)
        for start in range(0, WIDTH, CHUNK):
            column = start + part
            gradient = tl.load(upper + column[None], mask=inside, other=0.0)
            weight = tl.load(weights + column[:, None] * WIDTH + unit[None])
            of_sine = tl.dot(gradient, weight, of_sine, input_precision="tf32")
        turns = tl.load(
            turns_ptr + (of_layer * points + row)[:, None] * WIDTH + unit[None], mask=inside, other=0
        )
        of_phase = of_sine * _cosine(turns)
        tl.store(lower + unit[None], of_phase.to(gradients_ptr.dtype.element_ty), mask=inside)
        tl.debug_barrier()  # all threads of the program read what all have written


@triton.jit
def _weight_gradients(
    turns_ptr,  # [N, L - 1, P, H] int16
    gradients_ptr,  # [N, L, P, H]
    weight_ptr,  # [S, N, L - 1, H, H] float32, written: the sums of S sections of the points
    bias_ptr,  # [S, N, L - 1, H] float32, written
    points,
    section,  # points of a section, a multiple of CHUNK
    LAYERS: tl.constexpr,
    WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
    CHUNK: tl.constexpr,
):
    output = tl.program_id(0) // (WIDTH // BLOCK) * BLOCK + tl.arange(0, BLOCK)
    unit = tl.program_id(0) % (WIDTH // BLOCK) * BLOCK + tl.arange(0, BLOCK)
    of_layer = tl.program_id(1).to(tl.int64)  # condition * (L - 1) + layer - 1
    condition = of_layer // (LAYERS - 1)
    first = tl.program_id(2).to(tl.int64) * section
    turns_ptr += of_layer * points * WIDTH
    gradients_ptr += (of_layer + condition + 1) * points * WIDTH
    of_weight = tl.zeros([BLOCK, BLOCK], tl.float32)
    of_bias = tl.zeros([BLOCK], tl.float32)
    for start in range(first, tl.minimum(first + section, points), CHUNK):
        row = (start + tl.arange(0, CHUNK))[:, None]
        gradient = tl.load(gradients_ptr + row * WIDTH + output[None], mask=row < points, other=0.0)
        turns = tl.load(turns_ptr + row * WIDTH + unit[None], mask=row < points, other=0)
        of_weight = tl.dot(
            tl.trans(gradient), _sine(turns).to(gradient.dtype), of_weight, input_precision="tf32"
        )
        of_bias += tl.sum(gradient.to(tl.float32), 0)
    sums = tl.program_id(2).to(tl.int64) * tl.num_programs(1) + of_layer
    tl.store(weight_ptr + (sums * WIDTH + output)[:, None] * WIDTH + unit[None], of_weight)
    tl.store(
        bias_ptr + sums * WIDTH + output, of_bias
    )  # programs with the same outputs write the same values


def siren_forward(
    x: Tensor, first: Tensor, later: Tensor, biases: Tensor, turns: Tensor, out: Tensor
) -> None:
    """Launch the forward kernel.

    Args:
        x: [P, C] float32.
        first: [N, C, H], weights of the first layer, transposed.
        later: [N, L - 1, H, H], those of the others, transposed.
        biases: [N, L, H] float32.
        turns: [N, SLOTS, P, H] int16, written.
        out: [N, P, H] float32, written.
    """
    n, n_later, width = later.shape[:3]
    points, inputs = x.shape
    _forward[(triton.cdiv(points, FORWARD_POINTS), n)](
        x,
        first,
        later,
        biases,
        turns,
        out,
        points,
        inputs,
        LAYERS=n_later + 1,
        SLOTS=turns.shape[1],
        WIDTH=width,
        POINTS=FORWARD_POINTS,
        CHUNK=chunk_of(later.dtype, width),
        num_warps=8,
        num_stages=3,
    )


def siren_backward(turns: Tensor, weights: Tensor, gradients: Tensor) -> None:
    """Launch the kernel of the gradients of phases.

    Args:
        turns: [N, L - 1, P, H] int16.
        weights: [N, L - 1, H, H], weights of the layers after the first.
        gradients: [N, L, P, H]; the last layer's are read, the others written.
    """
    n, n_later, points, width = turns.shape
    _backward[(triton.cdiv(points, BACKWARD_POINTS), n)](
        turns,
        weights,
        gradients,
        points,
        LAYERS=n_later + 1,
        WIDTH=width,
        POINTS=BACKWARD_POINTS,
        CHUNK=chunk_of(gradients.dtype, width),
        num_warps=8,
        num_stages=3,
    )


def siren_weight_gradients(
    turns: Tensor, gradients: Tensor, section: int, of_weight: Tensor, of_bias: Tensor
) -> None:
    """Launch the kernel of the gradients of weights and biases.

    Args:
        turns: [N, L - 1, P, H] int16.
        gradients: [N, L, P, H].
        section: points of a section.
        of_weight: [S, N, L - 1, H, H] float32, written.
        of_bias: [S, N, L - 1, H] float32, written.
    """
    n, n_later, points, width = turns.shape
    block = min(WEIGHT_BLOCK, width)
    _weight_gradients[((width // block) ** 2, n * n_later, len(of_weight))](
        turns,
        gradients,
        of_weight,
        of_bias,
        points,
        section,
        LAYERS=n_later + 1,
        WIDTH=width,
        BLOCK=block,
        CHUNK=chunk_of(gradients.dtype, width),
        num_warps=8 if block == WEIGHT_BLOCK else 4,
        num_stages=3,
    )
