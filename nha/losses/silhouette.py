"""The silhouette term: hole-filling loss of the rendered head and the foreground. `docs/method.md`, section 4."""

from __future__ import annotations

from torch import Tensor

from nha.losses.hole_filling import SegmentationPair
from nha.losses.inputs import LossInputs
from nha.losses.shapes import expect_shape

BLUR_SIGMA = 2.0  # pixels


def silhouette_pair(alpha: Tensor, foreground: Tensor) -> SegmentationPair:
    """The pair of silhouettes.

    Args:
        alpha: [N, 1, H, W], 1 where the mesh is rendered.
        foreground: bool [N, 1, H, W], see `foreground_mask`.
    """
    expect_shape("alpha", alpha, None, 1, None, None)
    expect_shape("foreground", foreground, *alpha.shape)
    return SegmentationPair(prediction=alpha > 0.5, target=foreground, sigma=BLUR_SIGMA)


def silhouette_term(inputs: LossInputs) -> SegmentationPair:
    """The silhouettes of a rendered batch."""
    return silhouette_pair(inputs.rendering.alpha, inputs.foreground)
