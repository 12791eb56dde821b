"""The network of the vertex offsets."""

from __future__ import annotations

from torch import Tensor, nn

from nha.nets.film_siren import MappingNetwork, folded_trunk, sine_linear, siren_layers


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
        frequency, phase = self.mapping(condition)
        x = folded_trunk(points, self.layers, frequency, phase)  # [N, V, H]
        n = len(condition)
        weight, bias = self.output.weight.expand(n, -1, -1), self.output.bias.expand(n, -1)
        return sine_linear(x, weight, bias).tanh()
