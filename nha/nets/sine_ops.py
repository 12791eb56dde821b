"""Elementwise work of sinusoidal layers as one kernel launch each; the kernels are in `nha/nets/sine_triton.py`."""

from __future__ import annotations

import torch
from torch import Tensor

from nha.core.launches import register_launches, uses_fused_kernels


def times_cosine_and_sine_(
    gradient: Tensor, phase: Tensor, sine: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The gradient of the sines multiplied by the cosines of their phases, in place; and the sines.

    Args:
        gradient: of the sines, overwritten.
        phase: of the same shape, radians.
        sine: of the same shape, where the sines are written; None for a new tensor.
    """
    if not (_fused(gradient, phase) and gradient.is_contiguous() and phase.is_contiguous()):
        return gradient.mul_(torch.cos(phase)), torch.sin(phase, out=sine)
    sine = torch.empty_like(phase) if sine is None else sine
    torch.ops.nha.sine_backward(phase, gradient, sine)
    return gradient, sine


def modulated_sine_(
    affine: Tensor, frequency: Tensor, phase: Tensor, values: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Values frequency * affine + phase of a layer, and their sines.

    Args:
        affine, frequency, phase: [P, H]; only the last axis need be contiguous.
        values: [P, H], where the values are written; None for a new tensor.
    """
    if not _fused(affine):
        values = torch.addcmul(phase, frequency, affine, out=values)
        return values, torch.sin(values)
    if values is None:
        values = torch.empty_like(affine, memory_format=torch.contiguous_format)
    sine = torch.empty_like(affine, memory_format=torch.contiguous_format)
    torch.ops.nha.modulated_sine(affine, frequency, phase, values, sine)
    return values, sine


def through_modulated_sine_(of_sine: Tensor, values: Tensor, frequency: Tensor, of_affine: Tensor) -> None:
    """The backward pass of `modulated_sine_`: gradients of the values, in place of those of the sines, and of `affine`.

    Args:
        of_sine: [P, H] gradient of the sines, overwritten by that of the values.
        values, frequency: [P, H], as in `modulated_sine_`.
        of_affine: [P, H], written.
    """
    if not _fused(of_sine):
        torch.mul(of_sine.mul_(torch.cos(values)), frequency, out=of_affine)
        return
    torch.ops.nha.modulated_sine_backward(of_sine, values, frequency, of_affine)


def _fused(*tensors: Tensor) -> bool:
    """Whether the kernels compute tensors of these layouts."""
    return uses_fused_kernels(tensors[0].device) and all(
        tensor.dtype == torch.float32 and tensor.stride(-1) == 1 for tensor in tensors
    )


def _sine_backward_twin(phase: Tensor, gradient: Tensor, sine: Tensor) -> None:
    gradient.mul_(torch.cos(phase))
    torch.sin(phase, out=sine)


def _modulated_sine_twin(
    affine: Tensor, frequency: Tensor, phase: Tensor, values: Tensor, sine: Tensor
) -> None:
    torch.addcmul(phase, frequency, affine, out=values)
    torch.sin(values, out=sine)


def _modulated_sine_backward_twin(
    of_sine: Tensor, values: Tensor, frequency: Tensor, of_affine: Tensor
) -> None:
    of_sine.mul_(torch.cos(values))
    torch.mul(of_sine, frequency, out=of_affine)


register_launches(
    "nha.nets.sine_triton",
    {
        "sine_backward(Tensor phase, Tensor(a!) gradient, Tensor(b!) sine) -> ()": _sine_backward_twin,
        "modulated_sine(Tensor affine, Tensor frequency, Tensor phase, Tensor(a!) values, Tensor(b!) sine) -> ()": (
            _modulated_sine_twin
        ),
        "modulated_sine_backward(Tensor(a!) of_sine, Tensor values, Tensor frequency, Tensor(b!) of_affine) -> ()": (
            _modulated_sine_backward_twin
        ),
    },
)
