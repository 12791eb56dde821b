"""Folding of frequencies and phases into the weights of layers as one kernel launch in each direction.

The kernels are in `nha/nets/fold_triton.py`; `nha/nets/siren_folding.py` says what is computed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nha.core.launches import register_launches


def folded(
    frequency: Tensor, phase: Tensor, bias: Tensor, first: Tensor, later: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Weights and biases of L layers of width H with the frequencies and phases of N conditions.

    Args:
        frequency, phase: [N, L * H].
        bias: [L * H].
        first: [H, C], weight of the first layer.
        later: [L - 1, H, H], weights of the others.

    Returns:
        [N, H, C], [N, L - 1, H, H] and the biases [N, L * H].
    """
    n = len(frequency)
    outs = first.new_empty(n, *first.shape), later.new_empty(n, *later.shape), bias.new_empty(n, len(bias))
    modulation = frequency.contiguous(), phase.contiguous()
    torch.ops.nha.fold(*modulation, bias.contiguous(), first.contiguous(), later.contiguous(), *outs)
    return outs


def fold_gradients(
    of_first: Tensor,
    of_later: Tensor,
    of_biases: Tensor,
    frequency: Tensor,
    bias: Tensor,
    first: Tensor,
    later: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of `folded` by the frequencies, the biases and both weights; `of_biases` is that by the phases.

    Args:
        of_first, of_later, of_biases: gradients of the results.
        frequency, bias, first, later: as in `folded`.
    """
    outs = tuple(
        torch.empty_like(values, memory_format=torch.contiguous_format)
        for values in (frequency, bias, first, later)
    )
    inputs = (of_first, of_later, of_biases, frequency, bias, first, later)
    torch.ops.nha.fold_backward(*(values.contiguous() for values in inputs), *outs)
    return outs


def _fold_twin(
    frequency: Tensor,
    phase: Tensor,
    bias: Tensor,
    first: Tensor,
    later: Tensor,
    out_first: Tensor,
    out_later: Tensor,
    out_biases: Tensor,
) -> None:
    scale = frequency.unflatten(1, (len(later) + 1, len(first)))[..., None]
    torch.mul(scale[:, 0], first, out=out_first)
    torch.mul(scale[:, 1:], later, out=out_later)
    torch.addcmul(phase, frequency, bias, out=out_biases)


def _fold_backward_twin(
    of_first: Tensor,
    of_later: Tensor,
    of_biases: Tensor,
    frequency: Tensor,
    bias: Tensor,
    first: Tensor,
    later: Tensor,
    of_frequency: Tensor,
    of_bias: Tensor,
    of_first_weight: Tensor,
    of_later_weight: Tensor,
) -> None:
    sums = torch.cat([(of_first * first).sum(-1)[:, None], (of_later * later).sum(-1)], 1)
    torch.addcmul(sums.flatten(1), of_biases, bias, out=of_frequency)
    scale = frequency.unflatten(1, (len(later) + 1, len(first)))[..., None]
    torch.sum(of_biases * frequency, 0, out=of_bias)
    torch.sum(of_first * scale[:, 0], 0, out=of_first_weight)
    torch.sum(of_later * scale[:, 1:], 0, out=of_later_weight)


register_launches(
    "nha.nets.fold_triton",
    {
        "fold(Tensor frequency, Tensor phase, Tensor bias, Tensor first, Tensor later, Tensor(a!) out_first, "
        "Tensor(b!) out_later, Tensor(c!) out_biases) -> ()": _fold_twin,
        "fold_backward(Tensor of_first, Tensor of_later, Tensor of_biases, Tensor frequency, Tensor bias, "
        "Tensor first, Tensor later, Tensor(a!) of_frequency, Tensor(b!) of_bias, Tensor(c!) of_first_weight, "
        "Tensor(d!) of_later_weight) -> ()": _fold_backward_twin,
    },
)
