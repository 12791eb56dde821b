"""Frequencies and phases of a FiLM-SIREN folded into the weights and biases of its layers.

frequency * (W x + b) + phase is an affine map of x. Where all points share a condition, folding it leaves one matrix
product and one sine for each layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nha.core.launches import uses_fused_kernels
from nha.nets.fold_ops import fold_gradients, folded


def fold(layer: nn.Module, frequency: Tensor, phase: Tensor) -> tuple[Tensor, Tensor]:
    """Weight and bias of the affine map frequency * (W x + b) + phase, for one or several conditions.

    Args:
        layer: with weight [out, in, ...] and bias [out].
        frequency, phase: [out] for one condition or [N, out] for N.

    Returns:
        Weight [(N,) out, in, ...] and bias [(N,) out].
    """
    if frequency.ndim == 1:
        if uses_fused_kernels(frequency.device):
            weight = layer.weight.flatten(1)
            later = weight.new_empty(0, len(weight), len(weight))
            weight, _, bias = _FusedFold.apply(frequency[None], phase[None], layer.bias, weight, later)
            return weight.view(layer.weight.shape), bias.squeeze(0)
        return _Fold.apply(frequency, phase, layer.weight, layer.bias)
    scale = frequency.reshape(*frequency.shape, *[1] * (layer.weight.ndim - 1))
    return scale * layer.weight, torch.addcmul(phase, frequency, layer.bias)


class _Fold(torch.autograd.Function):
    """`fold` for one condition, with fewer operations backward than autograd's."""

    @staticmethod
    def forward(ctx, frequency: Tensor, phase: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(frequency, weight, bias)
        return _rows(frequency, weight) * weight, torch.addcmul(phase, frequency, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, of_weight: Tensor, of_bias: Tensor) -> tuple[Tensor, ...]:
        frequency, weight, bias = ctx.saved_tensors
        of_frequency = torch.addcmul((of_weight * weight).flatten(1).sum(1), of_bias, bias)
        return of_frequency, of_bias, of_weight * _rows(frequency, weight), of_bias * frequency


def _rows(values: Tensor, like: Tensor) -> Tensor:
    """Values [out] in the shape [out, 1, ...] of the rows of a weight."""
    return values.view(-1, *[1] * (like.ndim - 1))


def fold_layers(
    layers: Sequence[nn.Linear], frequency: Tensor, phase: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """`fold` of L layers of one width H, in few operations because each costs a launch.

    Args:
        layers: linear layers; all but the first have the same number of inputs.
        frequency, phase: [S] or [N, S], S the sum of the widths.

    Returns:
        The first layer's weight [(N,) H, C], the others' [(N,) L - 1, H, H], and the biases [(N,) L, H].
    """
    return fold_stacked(stack_layers(layers), frequency, phase)


@dataclass(frozen=True)
class StackedLayers:
    """The parameters of L linear layers of one width H.

    Attributes:
        first: [H, C], weight of the first layer.
        later: [L - 1, H, H], weights of the others.
        bias: [L * H].
    """

    first: Tensor
    later: Tensor
    bias: Tensor


def stack_layers(layers: Sequence[nn.Linear]) -> StackedLayers:
    """The parameters of layers of one width; all but the first have the same number of inputs."""
    bias = torch.cat([layer.bias for layer in layers])
    others = [layer.weight for layer in layers[1:]]
    width = layers[0].out_features
    later = torch.stack(others) if others else bias.new_zeros(0, width, width)
    return StackedLayers(layers[0].weight, later, bias)


def fold_stacked(layers: StackedLayers, frequency: Tensor, phase: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`fold_layers` of stacked layers."""
    parameters = layers.bias, layers.first, layers.later
    if not uses_fused_kernels(frequency.device):
        return _FoldLayers.apply(frequency, phase, *parameters)
    rows = (frequency, phase) if frequency.ndim == 2 else (frequency[None], phase[None])
    first, later, biases = _FusedFold.apply(*rows, *parameters)
    biases = biases.unflatten(-1, (len(layers.later) + 1, len(layers.first)))
    if frequency.ndim == 2:
        return first, later, biases
    return first.squeeze(0), later.squeeze(0), biases.squeeze(0)  # indexing costs two operations backward


class _FusedFold(torch.autograd.Function):
    """`fold_stacked` for N conditions, one kernel in each direction; the biases are [N, L * H]."""

    @staticmethod
    def forward(
        ctx, frequency: Tensor, phase: Tensor, bias: Tensor, first: Tensor, later: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        ctx.save_for_backward(frequency, bias, first, later)
        return folded(frequency, phase, bias, first, later)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, of_first: Tensor, of_later: Tensor, of_biases: Tensor) -> tuple[Tensor, ...]:
        of_frequency, *of_parameters = fold_gradients(of_first, of_later, of_biases, *ctx.saved_tensors)
        return of_frequency, of_biases, *of_parameters


class _FoldLayers(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx, frequency: Tensor, phase: Tensor, bias: Tensor, first: Tensor, later: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        ctx.save_for_backward(frequency, bias, first, later)
        n_layers, width = len(later) + 1, len(first)
        scale = frequency.unflatten(-1, (n_layers, width))[..., None]  # [(N,) layers, width, 1]
        biases = torch.addcmul(phase, frequency, bias).unflatten(-1, (n_layers, width))
        return scale.select(-3, 0) * first, scale.narrow(-3, 1, n_layers - 1) * later, biases

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, of_first: Tensor, of_later: Tensor, of_biases: Tensor) -> tuple[Tensor | None, ...]:
        frequency, bias, first, later = ctx.saved_tensors
        scale = frequency.unflatten(-1, of_biases.shape[-2:])[..., None]
        of_bias = of_biases.flatten(-2)
        of_frequency = None
        if ctx.needs_input_grad[0]:
            sums = [(of_first * first).sum(-1, keepdim=True).mT, (of_later * later).sum(-1)]
            of_frequency = torch.addcmul(torch.cat(sums, -2).flatten(-2), of_bias, bias)
        if not any(ctx.needs_input_grad[2:]):
            return of_frequency, of_bias, None, None, None
        unscaled = [
            of_bias * frequency,
            of_first * scale.select(-3, 0),
            of_later * scale.narrow(-3, 1, len(later)),
        ]
        if frequency.ndim == 2:
            unscaled = [gradient.sum(0) for gradient in unscaled]
        return of_frequency, of_bias, *unscaled
