"""Layers of a FiLM-SIREN for points with individual frequencies and phases, in few operations."""

from __future__ import annotations

import torch
from torch import Tensor

from nha.nets.sine_ops import modulated_sine_, through_modulated_sine_
from nha.nets.siren_folding import StackedLayers


def modulated_trunk(x: Tensor, layers: StackedLayers, frequency: Tensor, phase: Tensor) -> Tensor:
    """All layers of a sinusoidal network for points with individual conditions, without the last sine.

    All layers' values are kept for the backward pass, because launching an operation on a few thousand points takes
    longer than computing it. `nha.nets.film_siren.folded_trunk` is the form for points that share their condition.

    Args:
        x: [P, C] points.
        layers: L layers of one width H.
        frequency, phase: [P, L * H].

    Returns:
        [P, H], the last layer's values before its sine; differentiable once.
    """
    return _ModulatedTrunk.apply(x, frequency, phase, layers.bias, layers.first, layers.later)


class _ModulatedTrunk(torch.autograd.Function):
    """Keeps values of all layers side by side, [P, L, H]."""

    @staticmethod
    def forward(
        ctx, x: Tensor, frequency: Tensor, phase: Tensor, biases: Tensor, first: Tensor, later: Tensor
    ) -> Tensor:
        weights = (first, *later.unbind())
        sizes = (len(weights), len(first))
        frequencies, phases = frequency.unflatten(1, sizes), phase.unflatten(1, sizes)
        keep = any(ctx.needs_input_grad)
        affine, values = x.new_empty(2, len(x), *sizes) if keep else (None, None)
        sine = x
        for layer, (weight, bias) in enumerate(zip(weights, biases.view(sizes), strict=True)):
            outs = (affine[:, layer], values[:, layer]) if keep else (None, None)
            own = torch.addmm(bias, sine, weight.T, out=outs[0])
            modulation = frequencies[:, layer], phases[:, layer]
            if layer < len(weights) - 1:
                own, sine = modulated_sine_(own, *modulation, outs[1])
            else:
                own = torch.addcmul(modulation[1], modulation[0], own, out=outs[1])
        if not keep:
            return own
        ctx.save_for_backward(x, frequencies, affine, values, first, later)
        return own.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, frequencies, affine, values, first, later = ctx.saved_tensors
        of_values = torch.empty_like(values)  # of the arguments of the sines
        of_affine = torch.empty_like(values)
        of_values[:, -1] = grad
        torch.mul(grad, frequencies[:, -1], out=of_affine[:, -1])
        for layer in range(len(later) - 1, -1, -1):
            of_sine = of_values[:, layer]
            torch.mm(of_affine[:, layer + 1], later[layer], out=of_sine)
            through_modulated_sine_(of_sine, values[:, layer], frequencies[:, layer], of_affine[:, layer])
        of_x = of_affine[:, 0] @ first if ctx.needs_input_grad[0] else None
        of_frequency, of_phase = of_values * affine, of_values
        of_first = of_affine[:, 0].T @ x
        sine = torch.sin(values[:, :-1]).transpose(0, 1)  # [L - 1, P, H]
        of_weights = torch.bmm(of_affine[:, 1:].permute(1, 2, 0), sine)
        of_biases = of_affine.sum(0).flatten()
        return of_x, of_frequency.flatten(1), of_phase.flatten(1), of_biases, of_first, of_weights
