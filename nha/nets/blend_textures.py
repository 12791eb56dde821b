"""Blended textures: a mean image and a sum of basis images with weights that depend on the pose.

`docs/method.md`, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nha.core.derived import Derived
from nha.core.device import uses_cpu_kernels

_SMALLEST_LEVEL = 16  # texels of the coarsest level of a pyramid
_INITIAL_GREY = 0.5


class PyramidImages(nn.Module):
    """C images of R x R texels, stored as a sum of levels of doubling size.

    Texels that no pixel of the video shows take their values from the coarser levels, so that they continue their
    surroundings; fine details are learned as fast as coarse ones.
    """

    def __init__(self, channels: int, size: int, initial: float = 0.0) -> None:
        """Create the levels: the coarsest has the initial value, the others are zero.

        Args:
            channels: number C of images.
            size: side R in texels.
            initial: value of all texels.
        """
        super().__init__()
        sizes = [size]
        while sizes[0] // 2 >= _SMALLEST_LEVEL:
            sizes.insert(0, sizes[0] // 2)
        self.levels = nn.ParameterList([nn.Parameter(torch.zeros(channels, side, side)) for side in sizes])
        with torch.no_grad():
            self.levels[0].fill_(initial)
        self._images = Derived()

    @property
    def size(self) -> int:
        """The side of the images in texels."""
        return self.levels[-1].shape[-1]

    def forward(self) -> Tensor:
        """The images [C, R, R]; do not write to them, because they are kept until the levels change."""
        return self._images.value(self.levels, self._sum)

    @torch.no_grad()
    def replace(self, images: Tensor) -> None:
        """Set the images [C, R, R]; the finest level takes the difference."""
        self.levels[-1].add_(images - self())

    def weighted_sums(self, weights: Tensor) -> Tensor:
        """Weighted sums of K groups of images, [N, C / K, R, R] for weights [N, K].

        The levels are summed before they are enlarged, which is less work while N < K.
        """
        count = len(self.levels[0]) // weights.shape[1]
        return _add_up(
            [
                (weights @ level.view(weights.shape[1], -1)).view(-1, count, *level.shape[1:])
                for level in self.levels
            ]
        )

    def _sum(self) -> Tensor:
        return _add_up([level[None] for level in self.levels])[0]


def _add_up(levels: Sequence[Tensor]) -> Tensor:
    """The sum of levels [N, C, S, S] of doubling size, [N, C, R, R]."""
    image = levels[0]
    for level in levels[1:]:
        larger = F.interpolate(image, size=level.shape[2:], mode="bilinear", align_corners=False)
        image = larger + level
    return image


class BlendTexture(nn.Module):
    """A UV map whose colours are a mean image plus a weighted sum of K basis images.

    Attributes:
        mean: 3 channels of R x R texels.
        basis: 3 K channels of R/2 x R/2 texels.
    """

    def __init__(self, size: int, n_basis: int) -> None:
        super().__init__()
        self.n_basis = n_basis
        self.mean = PyramidImages(3, size, _INITIAL_GREY)
        self.basis = PyramidImages(3 * n_basis, max(1, size // 2))

    def basis_images(self) -> Tensor:
        """The basis images [K, 3, R/2, R/2]."""
        return self.basis().unflatten(0, (self.n_basis, 3))

    def maps(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """The mean image [1, 3, R, R] and the weighted sums [N, 3, R/2, R/2] for weights [N, K]."""
        if torch.is_grad_enabled() and uses_cpu_kernels(weights.device) and len(weights) < self.n_basis:
            return self.mean()[None], self.basis.weighted_sums(weights)
        basis = self.basis()
        blended = weights @ basis.view(self.n_basis, -1)
        return self.mean()[None], blended.view(-1, 3, *basis.shape[1:])

    def forward(self, uv: Tensor, weights: Tensor) -> Tensor:
        """Colours at texture coordinates.

        Args:
            uv: [N, H, W, 2] in -1..1, (-1, -1) is the top left corner of the texture.
            weights: [N, K].

        Returns:
            [N, 3, H, W], about 0..1.
        """
        mean, blended = self.maps(weights)
        n, height, width, _ = uv.shape
        options = {"mode": "bilinear", "padding_mode": "border", "align_corners": False}
        flat = F.grid_sample(mean, uv.reshape(1, n * height, width, 2), **options)
        own = F.grid_sample(blended, uv, **options)
        return flat.view(3, n, height, width).transpose(0, 1) + own


class BlendWeights(nn.Module):
    """The weights of basis images from the drive vector: one hidden layer with tanh."""

    def __init__(self, n_drive: int, n_hidden: int, n_weights: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(n_drive, n_hidden)
        self.output = nn.Linear(n_hidden, n_weights)

    def forward(self, drive: Tensor) -> Tensor:
        """Scaled drive vectors [N, D] to weights [N, K]."""
        return self.output(torch.tanh(self.hidden(drive)))
