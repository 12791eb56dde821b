"""Convolutional encoder of the rendered normals, an input of the texture network."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nha.core.derived import Derived
from nha.core.pixel_lists import section
from nha.nets.film_siren import MappingNetwork, init_siren_weight_
from nha.nets.siren_folding import fold


class NormalEncoder(nn.Module):
    """FiLM convolutions over the image of rendered normals. Paper sec. 3.3; `docs/method.md`, section 3.

    The condition is a fixed random vector, stored with the weights, so frequencies and phases are learned
    constants. The mapping network also has outputs for the output layer, as published; they are not used.
    """

    def __init__(
        self,
        encoding_size: int = 32,
        hidden_layers: int = 2,
        hidden_size: int = 128,
        condition_size: int = 100,
    ):
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Conv2d(hidden_size if i else 3, hidden_size, kernel_size=3) for i in range(hidden_layers)
        )
        self.output = nn.Conv2d(hidden_size, encoding_size, kernel_size=3)
        self.mapping = MappingNetwork(condition_size, (hidden_layers + 1) * hidden_size)
        self.register_buffer("condition", torch.randn(1, condition_size))
        for i, layer in enumerate((*self.layers, self.output)):
            init_siren_weight_(layer.weight, first=i == 0)
        self._folded = Derived()

    @property
    def radius(self) -> int:
        """Radius of the receptive field in pixels."""
        return len(self.layers) + 1

    def forward(self, normals: Tensor) -> Tensor:
        """Encoding [N, encoding_size, H, W] of normals [N, 3, H, W] in -1..1 with background 0."""
        x = normals.contiguous(memory_format=torch.channels_last)  # 25 % faster on the CPU
        for weight, bias in self._folded.value((self.condition, *self.parameters()), self._fold):
            x = torch.sin(_convolve(x, weight, bias))
        return _convolve(x, self.output.weight, self.output.bias)

    def _fold(self) -> list[tuple[Tensor, Tensor]]:
        """Weight and bias of each hidden layer with its frequency and phase."""
        frequency, phase = (values[0] for values in self.mapping(self.condition))
        width = self.layers[0].out_channels
        own = zip(self.layers, frequency.split(width), phase.split(width), strict=False)
        return [fold(*values) for values in own]  # the last values belong to the output layer, which has none

    def at_pixels(self, normals: Tensor, image_index: Tensor, row: Tensor, column: Tensor) -> Tensor:
        """The encoding of P pixels, computed on the rectangle around them.

        Args:
            normals: [N, 3, H, W] in -1..1, background 0.
            image_index, row, column: [P] long.

        Returns:
            [P, encoding_size], equal to `forward(normals)[image_index, :, row, column]`.
        """
        if len(row) == 0:
            return normals.new_zeros(0, self.output.out_channels)
        rows, columns = section("normals", row, column, normals.shape[2:], self.radius)
        encoding = self(normals[:, :, rows, columns]).permute(0, 2, 3, 1)
        height, width, channels = encoding.shape[1:]
        # a single index, because the gradient of indexing with several sorts them
        index = (row - rows.start).clamp(0, height - 1) * width + (column - columns.start).clamp(0, width - 1)
        return encoding.reshape(-1, channels).index_select(0, index + image_index * (height * width))


def _convolve(image: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """3 x 3 convolution to the same size; the border is replicated."""
    return F.conv2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), weight, bias)
