"""The launches of the fused FiLM-SIREN kernels as operations of torch, and what is computed around them.

Each operation is one kernel launch on CUDA (`nha/nets/siren_triton.py`) and a twin in plain torch on the CPU, with the
same rounding (`nha/core/launches.py`).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nha.core.launches import register_launches

SECTION = 8192  # points whose weight gradients one program sums
MOST_SECTIONS = 16
_BYTES_OF_CHUNK = 128  # of a row of a factor that is loaded at once
_STEPS = 65536  # of a turn


def trunk_forward(
    x: Tensor, first: Tensor, later: Tensor, biases: Tensor, operand: torch.dtype, *, keep: bool
) -> tuple[Tensor, Tensor]:
    """All layers of N folded networks at P points.

    Args:
        x: [P, C] float32.
        first: [N, H, C], the first layer's weights.
        later: [N, L - 1, H, H], those of the others; L is 2 or more.
        biases: [N, L, H].
        operand: type of the factors of products.
        keep: keep all phases for the backward pass.

    Returns:
        The last layer's phases in radians [N, P, H] float32, and the other layers' as fractions of a turn, int16
        [N, L - 1, P, H], or a buffer that is used again for several layers.
    """
    n, n_later, width = later.shape[:3]
    out = x.new_empty(n, len(x), width)
    slots = n_later if keep else min(n_later, 2)
    turns = x.new_empty(n, slots, len(x), width, dtype=torch.int16)
    torch.ops.nha.siren_forward(
        x.contiguous(),
        first.mT.to(operand).contiguous(),
        later.mT.to(operand).contiguous(),
        biases.contiguous(),
        turns,
        out,
    )
    return out, turns


def trunk_backward(
    gradient: Tensor, turns: Tensor, later: Tensor, operand: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of `trunk_forward`'s result.

    Args:
        gradient: [N, P, H] of the last layer's phases.
        turns: [N, L - 1, P, H] int16, the other layers' phases.
        later: [N, L - 1, H, H].
        operand: type of the factors of products, and of the gradients between layers.

    Returns:
        Gradients of the first layer's phases [N, P, H] (type `operand`), of `later`, and of the biases of the layers
        after the first [N, L - 1, H].
    """
    n, n_later, points, width = turns.shape
    gradients = torch.empty(n, n_later + 1, points, width, dtype=operand, device=turns.device)
    gradients[:, -1] = gradient
    torch.ops.nha.siren_backward(turns, later.to(operand).contiguous(), gradients)
    sections = min(max(points // SECTION, 1), MOST_SECTIONS)
    chunk = chunk_of(operand, width)
    section = math.ceil(math.ceil(points / sections) / chunk) * chunk
    of_weight = torch.empty(sections, *later.shape, device=turns.device)
    of_bias = torch.empty(sections, n, n_later, width, device=turns.device)
    torch.ops.nha.siren_weight_gradients(turns, gradients, section, of_weight, of_bias)
    return gradients[:, 0], of_weight.sum(0), of_bias.sum(0)


def chunk_of(operand: torch.dtype, width: int) -> int:
    """Columns of a factor that are loaded at once."""
    return min(_BYTES_OF_CHUNK // operand.itemsize, width)


# --- the operations -----------------------------------------------------------------------------------------------


def _forward_twin(
    x: Tensor, first: Tensor, later: Tensor, biases: Tensor, turns: Tensor, out: Tensor
) -> None:
    slots = turns.shape[1]
    phase = x.to(first.dtype).float() @ first.float() + biases[:, :1]
    for layer in range(later.shape[1]):
        own = turns[:, layer % slots]
        own.copy_((phase * (_STEPS / (2 * math.pi)) + 0.5).floor().to(torch.int32))  # wraps around
        phase = _sine(own).to(later.dtype).float() @ later[:, layer].float() + biases[:, layer + 1, None]
    out.copy_(phase)


def _backward_twin(turns: Tensor, weights: Tensor, gradients: Tensor) -> None:
    for layer in range(weights.shape[1], 0, -1):
        of_sine = gradients[:, layer].float() @ weights[:, layer - 1].float()
        gradients[:, layer - 1] = of_sine * torch.cos(_radians(turns[:, layer - 1]))


def _weight_gradients_twin(
    turns: Tensor, gradients: Tensor, section: int, of_weight: Tensor, of_bias: Tensor
) -> None:
    for i in range(len(of_weight)):
        points = slice(i * section, (i + 1) * section)
        gradient = gradients[:, 1:, points].float()
        of_weight[i] = gradient.mT @ _sine(turns[:, :, points]).to(gradients.dtype).float()
        of_bias[i] = gradient.sum(2)


def _radians(turns: Tensor) -> Tensor:
    return turns.float() * (2 * math.pi / _STEPS)


def _sine(turns: Tensor) -> Tensor:
    return torch.sin(_radians(turns))


register_launches(
    "nha.nets.siren_triton",
    {
        "siren_forward(Tensor x, Tensor first, Tensor later, Tensor biases, Tensor(a!) turns, Tensor(b!) out) -> ()": (
            _forward_twin
        ),
        "siren_backward(Tensor turns, Tensor weights, Tensor(a!) gradients) -> ()": _backward_twin,
        "siren_weight_gradients(Tensor turns, Tensor gradients, int section, Tensor(a!) of_weight, "
        "Tensor(b!) of_bias) -> ()": _weight_gradients_twin,
    },
)
