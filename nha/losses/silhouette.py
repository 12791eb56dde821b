"""The silhouette: the drawn head covers the picture's foreground. Method, section 4."""

from __future__ import annotations

from torch import Tensor

from nha.losses.hole_filling import SegmentationPair
from nha.losses.shapes import expect_shape

BLUR_SIGMA = 2.0  # pixels


def silhouette_pair(alpha: Tensor, foreground: Tensor) -> SegmentationPair:
    """The pair of silhouettes to hand to `hole_filling_loss`.

    alpha: [N, 1, H, W], 1 where the mesh is drawn; foreground: bool [N, 1, H, W] (`masks.foreground_mask`).
    """
    expect_shape("alpha", alpha, None, 1, None, None)
    expect_shape("foreground", foreground, *alpha.shape)
    return SegmentationPair(prediction=alpha > 0.5, target=foreground, sigma=BLUR_SIGMA)
