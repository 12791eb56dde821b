"""The network of the surface colours."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nha.core.derived import Derived
from nha.core.pixel_lists import chosen_rows
from nha.nets.film_siren import MappingNetwork, init_siren_weight_, sine_linear, siren_layers, trunk
from nha.nets.modulated_siren import modulated_trunk
from nha.nets.siren_folding import StackedLayers, fold, fold_stacked, stack_layers


class TextureNet(nn.Module):
    """FiLM-SIREN from a surface point, its feature and the encoded normals to a colour.

    Inside the mouth the network is conditioned on the frame's mouth features, elsewhere on a zero condition; pixels at
    the border have a weighted sum of both frequencies and phases. Paper sec. 3.3; `docs/method.md`, section 3.
    """

    def __init__(
        self,
        feature_size: int = 64,
        condition_size: int = 13,
        normal_encoding_size: int = 32,
        hidden_layers: int = 8,
        hidden_size: int = 256,
        dynamic_size: int = 128,
    ):
        """Build an untrained network.

        Args:
            feature_size: channels of the neural texture; the input is 3 + feature_size wide.
            condition_size: number of mouth features.
            normal_encoding_size: channels of the encoded normals.
            hidden_layers, hidden_size: number and width of the layers of the trunk.
            dynamic_size: width of the output branch that takes the encoded normals.
        """
        super().__init__()
        self.layers = siren_layers(3 + feature_size, hidden_size, hidden_layers)
        self.static_head = nn.Linear(hidden_size, 3)
        self.dynamic_layer = nn.Linear(hidden_size + normal_encoding_size, dynamic_size)
        self.dynamic_head = nn.Linear(dynamic_size, 3)
        self.mapping = MappingNetwork(condition_size, hidden_layers * hidden_size + dynamic_size)
        for layer in (self.static_head, self.dynamic_layer, self.dynamic_head):
            init_siren_weight_(layer.weight)
        self._outside_mouth = Derived()

    def forward(
        self,
        points: Tensor,
        normal_encoding: Tensor,
        mouth_features: Tensor,
        image_index: Tensor,
        mouth_weight: Tensor,
        rest_weight: Tensor,
    ) -> Tensor:
        """Colours of P covered pixels from any of N images.

        Args:
            points: [P, 3 + F], template position in -1..1 and neural texture feature.
            normal_encoding: [P, E].
            mouth_features: [N, D].
            image_index: [P] long, the image of each pixel.
            mouth_weight: [P] in 0..1, interpolated hard label `mouth`, used without gradient.
            rest_weight: [P] in 0..1, (alpha - mouth_weight) clipped at 0, used without gradient.

        Returns:
            [P, 3] in -1..1.
        """
        frequency, phase, shared = self._modulation(mouth_features)
        mouth_weight, rest_weight = mouth_weight.detach(), rest_weight.detach()

        # Nearly all pixels lie outside the mouth and share one condition, also across images. The others are computed
        # too, and replaced: selecting the shared ones costs more.
        colours = self._colours_of_shared(points, normal_encoding, shared)
        blended = chosen_rows("blended", (mouth_weight != 0) | (rest_weight != 1))
        if len(blended):
            rows = blended.source
            modulation = _BlendedModulation.make(
                frequency, phase, image_index[rows], mouth_weight[rows], rest_weight[rows]
            )
            own = self._colours_of_blended(
                points.index_select(0, rows), normal_encoding.index_select(0, rows), modulation, shared.layers
            )
            colours = blended.replace_rows(colours, own)
        return colours

    @property
    def _sizes(self) -> list[int]:
        """Numbers of modulated values of the hidden layers together, and of the dynamic layer."""
        return [sum(layer.out_features for layer in self.layers), self.dynamic_layer.out_features]

    def _modulation(self, mouth_features: Tensor) -> tuple[Tensor, Tensor, _FoldedWeights]:
        """Frequencies and phases [N + 1, S], the last row outside the mouth, and the weights folded for that row."""
        zero = mouth_features.new_zeros(1, mouth_features.shape[1])
        frequency, phase = self.mapping(torch.cat([mouth_features, zero]))
        parameters = list(self.parameters())
        if torch.is_grad_enabled() and any(parameter.requires_grad for parameter in parameters):
            return frequency, phase, self._fold(frequency[-1], phase[-1])
        return frequency, phase, self._outside_mouth.value(parameters, self._folded_outside_mouth)

    def _folded_outside_mouth(self) -> _FoldedWeights:
        """The weights folded for the condition outside the mouth."""
        # two rows, because the rounding of a product depends on their number: images with gradient have two, too
        frequency, phase = self.mapping(self.static_head.weight.new_zeros(2, self.mapping.condition_size))
        return self._fold(frequency[-1], phase[-1])

    def _fold(self, frequency: Tensor, phase: Tensor) -> _FoldedWeights:
        """The weights with a frequency and a phase [S]."""
        sizes = self._sizes
        (of_trunk, of_dynamic), (trunk_phase, dynamic_phase) = (v.split(sizes) for v in (frequency, phase))
        layers = stack_layers(self.layers)
        trunk_weights = fold_stacked(layers, of_trunk, trunk_phase)
        weight, bias = fold(self.dynamic_layer, of_dynamic, dynamic_phase)
        hidden_size = self.static_head.in_features
        of_hidden, of_encoding = weight.split([hidden_size, weight.shape[1] - hidden_size], dim=1)
        # Both branches take the same sine: one product with their stacked weights.
        both_weight = torch.cat([self.static_head.weight, of_hidden])
        return _FoldedWeights(
            layers, trunk_weights, both_weight, torch.cat([self.static_head.bias, bias]), of_encoding
        )

    def _colours_of_shared(self, points: Tensor, encoding: Tensor, folded: _FoldedWeights) -> Tensor:
        """Colours [P, 3] of pixels that share one condition, which is folded into the weights."""
        hidden = trunk(points, *folded.trunk)
        both = sine_linear(hidden, folded.both_weight, folded.both_bias)
        static, dynamic = both.split([3, both.shape[1] - 3], dim=1)
        dynamic = torch.addmm(dynamic, encoding, folded.of_encoding.T)
        return (static + sine_linear(dynamic, self.dynamic_head.weight, self.dynamic_head.bias)).tanh()

    def _colours_of_blended(
        self, points: Tensor, encoding: Tensor, modulation: _BlendedModulation, layers: StackedLayers
    ) -> Tensor:
        """Colours [P, 3] of pixels with individual frequencies and phases."""
        frequency, phase = modulation.of_pixels()
        sizes = self._sizes
        (of_trunk, of_dynamic), (trunk_phase, dynamic_phase) = (v.split(sizes, 1) for v in (frequency, phase))
        x = torch.sin(modulated_trunk(points, layers, of_trunk, trunk_phase))
        dynamic = self.dynamic_layer(torch.cat([x, encoding], dim=1))
        dynamic = torch.addcmul(dynamic_phase, of_dynamic, dynamic)
        return (self.static_head(x) + self.dynamic_head(torch.sin(dynamic))).tanh()


@dataclass(frozen=True)
class _FoldedWeights:
    """The network's weights for one condition.

    Attributes:
        layers: the hidden layers, not folded.
        trunk: weights and biases of the hidden layers, see `fold_layers`.
        both_weight, both_bias: of the static output and of the dynamic layer, as functions of the hidden layers.
        of_encoding: weights of the encoded normals in the dynamic layer.
    """

    layers: StackedLayers
    trunk: tuple[Tensor, Tensor, Tensor]
    both_weight: Tensor
    both_bias: Tensor
    of_encoding: Tensor


@dataclass(frozen=True)
class _BlendedModulation:
    """Frequencies and phases of P pixels as weighted sums of those of K conditions.

    Attributes:
        weights: [P, K].
        frequency, phase: [K, S].
    """

    weights: Tensor
    frequency: Tensor
    phase: Tensor

    @staticmethod
    def make(
        frequency: Tensor, phase: Tensor, image_index: Tensor, mouth_weight: Tensor, rest_weight: Tensor
    ) -> _BlendedModulation:
        weights = frequency.new_zeros(len(image_index), len(frequency))
        weights.scatter_(1, image_index[:, None], mouth_weight[:, None].to(weights.dtype))
        weights[:, -1] = rest_weight
        return _BlendedModulation(weights, frequency, phase)

    def of_pixels(self) -> tuple[Tensor, Tensor]:
        """Frequencies and phases of the pixels, [P, S] each."""
        return self.weights @ self.frequency, self.weights @ self.phase
