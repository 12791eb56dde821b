"""Sinusoidal layers whose frequency and phase come from a condition (FiLM-SIREN), in a fast evaluation.

One layer is sin(frequency * (W x + b) + phase) with frequency = 15 f + 30; f and phase come from a mapping
network that takes the condition. Two properties make the evaluation cheap. Where all points share a condition,
frequency and phase fold into W and b, which leaves one matrix product and one sine. And the input of a layer is always
the sine of the previous layer, so only one of the two is kept for the backward pass (`sine_linear`).
Paper sec. 3.2 and 3.3; `docs/method.md`, section 3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nha.core.device import uses_cpu_kernels
from nha.core.launches import uses_fused_kernels
from nha.nets.fused_siren import backward_type, can_fuse, fused_trunk
from nha.nets.sine_ops import times_cosine_and_sine_
from nha.nets.siren_folding import fold_layers
from nha.nets.small_linear_ops import MOST_ROWS, small_linear

LEAKY_SLOPE = 0.2
HIDDEN_WEIGHT_SCALE = (
    1 / 25
)  # the frequencies are near 30, so the weights are smaller than a SIREN's by about this factor


class MappingNetwork(nn.Module):
    """MLP from a condition to the frequencies and phases of all layers that it modulates."""

    def __init__(self, condition_size: int, modulated_size: int, hidden_size: int = 256):
        """Build the network.

        Args:
            condition_size: width of the condition.
            modulated_size: sum of the widths of the modulated layers; the network has twice as many outputs.
            hidden_size: width of its three hidden layers.
        """
        super().__init__()
        self.condition_size = condition_size
        sizes = (condition_size, hidden_size, hidden_size)
        self.hidden = nn.ModuleList(nn.Linear(size, hidden_size) for size in sizes)
        self.output = nn.Linear(hidden_size, 2 * modulated_size)
        for layer in (*self.hidden, self.output):
            nn.init.kaiming_normal_(layer.weight, a=LEAKY_SLOPE, mode="fan_in", nonlinearity="leaky_relu")
        with torch.no_grad():
            self.output.weight *= 0.25

    def forward(self, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Frequency [N, S] and phase [N, S] of a condition [N, D]; S = modulated_size, in the order of the layers."""
        x = condition
        if uses_fused_kernels(x.device) and x.dtype == torch.float32 and len(x) <= MOST_ROWS:
            for layer in self.hidden:
                x = small_linear(x, layer.weight, layer.bias, LEAKY_SLOPE)
            n_frequencies = self.output.out_features // 2
            both = small_linear(
                x, self.output.weight, self.output.bias, n_scaled=n_frequencies, scale=15.0, shift=30.0
            )
            return both.chunk(2, dim=-1)
        for layer in self.hidden:
            x = nn.functional.leaky_relu(layer(x), LEAKY_SLOPE)
        frequency, phase = self.output(x).chunk(2, dim=-1)
        return 15 * frequency + 30, phase


def init_siren_weight_(weight: Tensor, *, first: bool = False) -> None:
    """Initialise a weight [out, in, ...] of a sinusoidal network uniformly, within +-1/fan_in in the first layer."""
    fan_in = weight[0].numel()
    bound = 1 / fan_in if first else math.sqrt(6 / fan_in) * HIDDEN_WEIGHT_SCALE
    nn.init.uniform_(weight, -bound, bound)


def siren_layers(input_size: int, hidden_size: int, n_layers: int) -> nn.ModuleList:
    """Initialised linear layers of a sinusoidal network."""
    layers = nn.ModuleList(nn.Linear(hidden_size if i else input_size, hidden_size) for i in range(n_layers))
    for i, layer in enumerate(layers):
        init_siren_weight_(layer.weight, first=i == 0)
    return layers


def sine_linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """W sin(x) + b, keeping only x for the backward pass (the sine is recomputed, not stored).

    Args:
        x: [P, C], or [N, P, C] for N sets of weights.
        weight: [O, C] or [N, O, C].
        bias: [O] or [N, O].

    Returns:
        [P, O] or [N, P, O]; differentiable once.
    """
    return _SineLinear.apply(x, weight, bias)


class _SineLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return affine(torch.sin(x), weight, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        need_x, need_weight, need_bias = ctx.needs_input_grad
        grad_x = grad @ weight if need_x else None
        if need_x and need_weight:
            grad_x, sine = times_cosine_and_sine_(grad_x, x)
        else:
            grad_x = grad_x.mul_(torch.cos(x)) if need_x else None
            sine = torch.sin(x) if need_weight else None
        grad_weight = grad.mT @ sine if need_weight else None
        grad_bias = grad.sum(-2) if need_bias else None
        return grad_x, grad_weight, grad_bias


def affine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """W x + b for x [P, C], or for N sets of weights at once (weight [N, O, C], x [N, P, C] or [P, C])."""
    if weight.ndim == 2:
        return torch.addmm(bias, x, weight.T)
    x = x if x.ndim == 3 else x.expand(len(weight), -1, -1)
    return torch.baddbmm(bias.unsqueeze(-2), x, weight.mT)


def folded_trunk(x: Tensor, layers: Sequence[nn.Linear], frequency: Tensor, phase: Tensor) -> Tensor:
    """All layers of a sinusoidal network for points that share their condition, without the last sine.

    Args:
        x: [P, C] points.
        layers: the modulated layers.
        frequency, phase: [S] for one condition or [N, S] for N.

    Returns:
        The last layer's value before its sine, [P, H] or [N, P, H], the input of `sine_linear`.
    """
    return trunk(x, *fold_layers(layers, frequency, phase))


def trunk(x: Tensor, first: Tensor, later: Tensor, biases: Tensor) -> Tensor:
    """`folded_trunk` of one or N networks that `fold_layers` has folded."""
    if can_fuse(x, *biases.shape[-2:]):
        if first.ndim == 3:
            return fused_trunk(x, first, later, biases, backward_type())
        return fused_trunk(x, first[None], later[None], biases[None], backward_type())[0]
    first_bias, *later_biases = biases.unbind(-2)
    x = affine(x, first, first_bias)
    for weight, bias in zip(later.unbind(-3), later_biases, strict=True):
        x = sine_linear(x, weight, bias)
    return x


def small_trunk(x: Tensor, first: Tensor, later: Tensor, biases: Tensor) -> Tensor:
    """`folded_trunk` of N folded networks in few operations, which keeps all layers' values for the backward pass.

    For points so few that an accelerator launches operations longer than it computes them. On a CPU one layer at a time
    is faster, because its values stay in memory that is used again.

    Args:
        x: [P, C] points.
        first: [N, H, C], weights of the first layer.
        later: [N, L - 1, H, H], those of the others.
        biases: [N, L, H].

    Returns:
        [N, P, H], the last layer's values before its sine; differentiable once.
    """
    if can_fuse(x, biases.shape[1], biases.shape[2]):
        return fused_trunk(x, first, later, biases, backward_type())
    if uses_cpu_kernels(x.device):
        return trunk(x, first, later, biases)
    return _SmallTrunk.apply(x, first, later, biases)


class _SmallTrunk(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, first: Tensor, later: Tensor, biases: Tensor) -> Tensor:
        n_later = later.shape[1]
        keep = any(ctx.needs_input_grad)
        kept = x.new_empty(n_later, len(first), len(x), first.shape[1]) if keep else None
        points = x.expand(len(first), -1, -1)
        for layer in range(n_later + 1):
            own = kept[layer] if keep and layer < n_later else None
            weight = later[:, layer - 1] if layer else first
            values = torch.baddbmm(biases[:, layer, None], points, weight.mT, out=own)
            if layer < n_later:
                points = torch.sin(values)
        if keep:
            ctx.save_for_backward(x, first, later, kept)
        return values

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, first, later, kept = ctx.saved_tensors
        n_later, n = kept.shape[:2]
        sine = torch.empty_like(kept)
        of_values = grad.new_empty(n_later + 1, *grad.shape)
        of_values[-1] = grad
        for layer in range(n_later, 0, -1):
            below = of_values[layer - 1]
            torch.bmm(of_values[layer], later[:, layer - 1], out=below)
            times_cosine_and_sine_(below, kept[layer - 1], sine[layer - 1])
        of_later = torch.bmm(of_values[1:].flatten(0, 1).mT, sine.flatten(0, 1)).unflatten(0, (n_later, n))
        of_x = None
        if ctx.needs_input_grad[0]:
            of_x = torch.bmm(of_values[0], first)
            of_x = of_x.sum(0) if n > 1 else of_x[0]
        of_first = torch.bmm(of_values[0].mT, x.expand(n, -1, -1))
        return of_x, of_first, of_later.transpose(0, 1), of_values.sum(2).transpose(0, 1)
