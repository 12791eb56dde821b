"""Layers of a folded FiLM-SIREN in one kernel, for `--precision high` and `medium` on CUDA; and its plain twin.

`folded_trunk` (`nha/nets/film_siren.py`) is the exact evaluation. This one rounds the factors of the products to ten
bits of mantissa, as tf32 does, and the phases of the sines to 1/65536 of a turn (`nha/nets/siren_triton.py`). It is off
unless `set_fused_networks` turns it on, because its speed was not measured yet (`docs/decisions.md`).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

import torch
from torch import Tensor

from nha.core.device import set_precision
from nha.core.launches import uses_fused_kernels
from nha.nets.siren_ops import trunk_backward, trunk_forward

FORWARD = torch.float16  # type of the factors of forward products; its mantissa is that of tf32
SMALLEST_WIDTH, LARGEST_WIDTH = 16, 256  # of layers; powers of two

_wanted = False


def set_fused_networks(wanted: bool) -> None:
    """Choose whether networks are evaluated by the fused kernels where `can_fuse` allows it."""
    global _wanted
    _wanted = wanted


@contextlib.contextmanager
def fused_networks() -> Iterator[None]:
    """Use the fused kernels in the block, with `--precision high`, which they need; then neither any more."""
    try:
        set_precision("high")
        set_fused_networks(True)
        yield
    finally:
        set_fused_networks(False)
        set_precision("highest")


def fused_networks_wanted() -> bool:
    """What `set_fused_networks` has chosen."""
    return _wanted


def can_fuse(x: Tensor, n_layers: int, width: int) -> bool:
    """Whether the fused kernels are to evaluate layers of a width at points x.

    Only where they are wanted, on CUDA with Triton, and where lower precision than float32 is allowed; their twins on
    the CPU only in `nha.core.device.accelerator_path`.
    """
    return (
        _wanted
        and uses_fused_kernels(x.device)
        and x.dtype == torch.float32
        and torch.get_float32_matmul_precision() != "highest"
        and SMALLEST_WIDTH <= width <= LARGEST_WIDTH
        and width.bit_count() == 1
        and n_layers > 1
        and len(x) > 0
    )


def backward_type() -> torch.dtype:
    """Type of the factors of backward products: float32 stands for tf32 products."""
    return torch.bfloat16 if torch.get_float32_matmul_precision() == "medium" else torch.float32


def fused_trunk(x: Tensor, first: Tensor, later: Tensor, biases: Tensor, backward: torch.dtype) -> Tensor:
    """All layers of N folded networks at P points, without the last sine; differentiable once.

    Args:
        x: [P, C] float32.
        first: [N, H, C], weights of the first layer.
        later: [N, L - 1, H, H], those of the others.
        biases: [N, L, H].
        backward: type of the factors of backward products, float32 for tf32 products, or bfloat16.

    Returns:
        The last layer's phases, [N, P, H] radians.
    """
    return _FusedTrunk.apply(x, first, later, biases, backward)


class _FusedTrunk(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx, x: Tensor, first: Tensor, later: Tensor, biases: Tensor, backward: torch.dtype
    ) -> Tensor:
        keep = any(ctx.needs_input_grad)
        out, turns = trunk_forward(x, first, later, biases, FORWARD, keep=keep)
        if keep:
            ctx.save_for_backward(x, first, later, turns)
            ctx.operand = backward
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, first, later, turns = ctx.saved_tensors
        of_phase, of_later, of_bias = trunk_backward(grad, turns, later, ctx.operand)
        of_phase = of_phase.float()  # the first layer is a small part of the work
        of_x = torch.einsum("nph,nhc->pc", of_phase, first) if ctx.needs_input_grad[0] else None
        of_first = of_phase.mT @ x
        of_biases = torch.cat([of_phase.sum(1)[:, None], of_bias], 1)
        return of_x, of_first, of_later, of_biases, None


def trunk_twin(x: Tensor, first: Tensor, later: Tensor, biases: Tensor) -> Tensor:
    """`fused_trunk` in plain torch with the same rounding forward; its gradients are not rounded."""
    phase = _rounded(x, FORWARD) @ _rounded(first, FORWARD).mT + biases[:, :1]
    for layer in range(later.shape[1]):
        sine = _rounded(torch.sin(_whole_steps(phase)), FORWARD)
        phase = sine @ _rounded(later[:, layer], FORWARD).mT + biases[:, layer + 1, None]
    return phase


def _rounded(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Values rounded to a type; the gradient ignores it."""
    return values + (values.to(dtype).to(values.dtype) - values).detach()


def _whole_steps(phase: Tensor) -> Tensor:
    """Phases in radians, rounded to 1/65536 of a turn; the gradient ignores it."""
    step = 2 * math.pi / 65536
    return phase + ((phase / step + 0.5).floor() * step - phase).detach()
