"""The network that paints the covered pixels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nha.nets.film_siren import (
    MappingNetwork,
    affine,
    fold,
    folded_trunk,
    init_siren_weight_,
    sine_linear,
    siren_layers,
)


class TextureNet(nn.Module):
    """FiLM-SIREN from a surface point, its feature and the encoded normals to a colour.

    Inside the mouth, frequency and phase belong to the frame's mouth features, elsewhere to a zero condition;
    pixels between the two have a weighted sum of both. Paper sec. 3.3; method, section 3.
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
        """feature_size: channels of the neural texture; dynamic_size: width of the head that sees normals."""
        super().__init__()
        self.layers = siren_layers(3 + feature_size, hidden_size, hidden_layers)
        self.static_head = nn.Linear(hidden_size, 3)
        self.dynamic_layer = nn.Linear(hidden_size + normal_encoding_size, dynamic_size)
        self.dynamic_head = nn.Linear(dynamic_size, 3)
        self.mapping = MappingNetwork(condition_size, hidden_layers * hidden_size + dynamic_size)
        for layer in (self.static_head, self.dynamic_layer, self.dynamic_head):
            init_siren_weight_(layer.weight)

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

        points: [P, 3 + F], template position in -1..1 and neural texture feature;
        normal_encoding: [P, E]; mouth_features: [N, D]; image_index: [P] which image a pixel is of;
        mouth_weight: [P] in 0..1, interpolated hard label `mouth`; rest_weight: [P], (alpha - mouth_weight)
        clipped at 0; both weights are used without gradient.
        Returns [P, 3] in -1..1.
        """
        zero = mouth_features.new_zeros(1, mouth_features.shape[1])
        frequency, phase = self.mapping(
            torch.cat([mouth_features, zero])
        )  # [N + 1, S], the last is "no mouth"
        mouth_weight, rest_weight = mouth_weight.detach(), rest_weight.detach()

        # Nearly all pixels are wholly outside the mouth and share one condition, across images too.
        plain = (mouth_weight == 0) & (rest_weight == 1)
        plain_index, mixed_index = plain.nonzero().squeeze(1), (~plain).nonzero().squeeze(1)
        colours = points.new_empty(len(points), 3)
        if len(plain_index):
            own = self._paint_plain(
                points[plain_index], normal_encoding[plain_index], frequency[-1], phase[-1]
            )
            colours = colours.index_copy(0, plain_index, own)
        if len(mixed_index):
            films = _BlendedFilms.make(
                frequency,
                phase,
                image_index[mixed_index],
                mouth_weight[mixed_index],
                rest_weight[mixed_index],
            )
            own = self._paint_mixed(points[mixed_index], normal_encoding[mixed_index], films)
            colours = colours.index_copy(0, mixed_index, own)
        return colours

    def _paint_plain(self, points: Tensor, encoding: Tensor, frequency: Tensor, phase: Tensor) -> Tensor:
        """All pixels share one condition ([S]): it is folded into the weights."""
        trunk_size = sum(layer.out_features for layer in self.layers)
        hidden = folded_trunk(points, self.layers, frequency[:trunk_size], phase[:trunk_size])
        weight, bias = fold(self.dynamic_layer, frequency[trunk_size:], phase[trunk_size:])
        of_hidden, of_encoding = weight.split([hidden.shape[1], encoding.shape[1]], dim=1)
        # Both heads read the same sine: one product with their stacked weights.
        both = sine_linear(
            hidden, torch.cat([self.static_head.weight, of_hidden]), torch.cat([self.static_head.bias, bias])
        )
        static, dynamic = both.split([3, len(bias)], dim=1)
        dynamic = torch.addmm(dynamic, encoding, of_encoding.T)
        return (static + sine_linear(dynamic, self.dynamic_head.weight, self.dynamic_head.bias)).tanh()

    def _paint_mixed(self, points: Tensor, encoding: Tensor, films: _BlendedFilms) -> Tensor:
        """Each pixel has a condition of its own, blended layer by layer."""
        x = points
        start = 0
        for layer in self.layers:
            x = torch.sin(films.steer(affine(x, layer.weight, layer.bias), start))
            start += layer.out_features
        dynamic = films.steer(self.dynamic_layer(torch.cat([x, encoding], dim=1)), start)
        return (self.static_head(x) + self.dynamic_head(torch.sin(dynamic))).tanh()


@dataclass(frozen=True)
class _BlendedFilms:
    """Frequencies and phases of P pixels as weighted sums of K conditions' values.

    weights: [P, K]; frequency, phase: [K, S]. The [P, S] sums are never made, only [P, width] of one layer.
    """

    weights: Tensor
    frequency: Tensor
    phase: Tensor

    @staticmethod
    def make(
        frequency: Tensor, phase: Tensor, image_index: Tensor, mouth_weight: Tensor, rest_weight: Tensor
    ) -> _BlendedFilms:
        weights = frequency.new_zeros(len(image_index), len(frequency))
        weights.scatter_(1, image_index[:, None], mouth_weight[:, None].to(weights.dtype))
        weights[:, -1] = rest_weight
        return _BlendedFilms(weights, frequency, phase)

    def steer(self, x: Tensor, start: int) -> Tensor:
        """frequency * x + phase for the layer whose values start at column `start`; x: [P, width]."""
        own = slice(start, start + x.shape[1])
        frequency = self.weights @ self.frequency[:, own]
        return torch.addcmul(self.weights @ self.phase[:, own], frequency, x)
