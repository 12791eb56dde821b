"""The network of the vertex offsets."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nha.core.launches import uses_fused_kernels
from nha.nets.film_siren import MappingNetwork, sine_linear, siren_layers, small_trunk
from nha.nets.siren_folding import fold_layers


class OffsetNet(nn.Module):
    """FiLM-SIREN from a template position and a vertex feature to an offset, conditioned on a pose.

    An untrained network returns zero, because the last layer is initialised to it. Paper sec. 3.2; `docs/method.md`,
    section 3.
    """

    def __init__(
        self,
        feature_size: int = 32,
        condition_size: int = 9,
        hidden_layers: int = 6,
        hidden_size: int = 128,
    ):
        """Build an untrained network.

        Args:
            feature_size: width of the vertex features; the input is 3 + feature_size wide.
            condition_size: 9 for a rotation matrix.
            hidden_layers, hidden_size: number and width of the hidden layers.
        """
        super().__init__()
        self.layers = siren_layers(3 + feature_size, hidden_size, hidden_layers)
        self.output = nn.Linear(hidden_size, 3)
        self.mapping = MappingNetwork(condition_size, hidden_layers * hidden_size)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, points: Tensor, condition: Tensor) -> Tensor:
        """Offsets of all vertices under each of N conditions.

        Args:
            points: [V, 3 + F], template position in -1..1 and vertex feature.
            condition: [N, D].

        Returns:
            [N, V, 3] in -1..1, metres in the vertices' tangent frames.
        """
        return self._offsets(points, *fold_layers(self.layers, *self.mapping(condition)))

    def at_rest_and_posed(self, points: Tensor, rows: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Offsets of all vertices under a zero condition, and of some under each of N conditions.

        Both share one folding.

        Args:
            points: [V, 3 + F], as in `forward`.
            rows: [R] long, the vertices of the second result.
            condition: [N, D].

        Returns:
            [1, V, 3] and [N, R, 3] in -1..1.
        """
        zero = torch.zeros_like(condition[:1])
        if uses_fused_kernels(condition.device):
            frequency, phase = self.mapping(torch.cat([zero, condition]))
        else:
            # Evaluated twice: the rounding of a product depends on the number of its rows, and other offsets than the
            # published ones in the last bit show other faces at edges.
            modulations = [self.mapping(values) for values in (zero, condition)]
            frequency, phase = (torch.cat(values) for values in zip(*modulations, strict=True))
        sizes = (1, len(condition))
        folded = fold_layers(self.layers, frequency, phase)
        at_rest, posed = zip(*(values.split(sizes) for values in folded), strict=True)
        return self._offsets(points, *at_rest), self._offsets(points.index_select(0, rows), *posed)

    def _offsets(self, points: Tensor, first: Tensor, later: Tensor, biases: Tensor) -> Tensor:
        """Offsets [N, V, 3] of points [V, 3 + F] from N folded networks."""
        n = len(first)
        x = small_trunk(points, first, later, biases)  # [N, V, H]
        weight, bias = self.output.weight.expand(n, -1, -1), self.output.bias.expand(n, -1)
        return sine_linear(x, weight, bias).tanh()
