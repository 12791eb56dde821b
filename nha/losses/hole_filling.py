"""The hole-filling segmentation term: it moves a drawn region over the target region. Method, section 4.

A drawn label is constant inside a triangle, so its picture has no useful derivative. The term therefore looks
up two blurred pictures at the drawn pixels: `union`, in which it is good to be, and `holes`, the target
pixels that nothing covers. The blur makes both pictures slope, and `screen_grad` turns the slope into a
motion of the surface that each pixel shows: towards the holes, and from outside back into the union.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nha.core.images import gaussian_blur, screen_grad
from nha.core.processes import mean_over_processes
from nha.losses.iou import pooled_iou
from nha.losses.shapes import expect_mask, expect_shape


@dataclass(frozen=True)
class SegmentationPair:
    """A drawn and a wanted binary segmentation, and how to compare them."""

    prediction: Tensor  # bool [N, C, H, W], what the mesh shows
    target: Tensor  # bool [N, C, H, W], what the picture shows
    sigma: float  # pixels of blur
    pixel_weight: Tensor | None = None  # [N, C, H, W], no gradient; None = 1

    def iou(self) -> Tensor:
        """Intersection over union pooled over batch and channels (a scalar for the log)."""
        return pooled_iou(self.prediction, self.target)


def hole_filling_loss(
    pair: SegmentationPair, screen_coords: Tensor, sample_weight: Tensor | None = None
) -> Tensor:
    """The hole-filling segmentation loss of a pair of binary pictures. Method, section 4.

    The sum over the drawn pixels of (1 - blurred holes), plus the sum over the pixels drawn outside the
    target of (1 - blurred union), each times the weights, over the *unweighted* count of both kinds of pixels
    in the batch.

    pair: see `SegmentationPair`; screen_coords: [N, H, W, 2] in -1..1, x left and y up, the only thing
    that receives a gradient; sample_weight: [N], for instance the semantic trust. Returns a scalar, 0 where
    nothing is drawn. Raises ValueError for shapes that do not fit.
    """
    prediction, target = pair.prediction, pair.target
    n, channels, height, width = prediction.shape
    expect_mask("prediction", prediction)
    expect_mask("target", target)
    expect_shape("target", target, n, channels, height, width)
    expect_shape("screen_coords", screen_coords, n, height, width, 2)

    outside = prediction & ~target
    holes = target & ~prediction
    pictures = torch.cat([holes, prediction | target], 1).to(screen_coords.dtype)
    # screen_grad counts x to the right and y down, screen_coords the other way round
    blurred = screen_grad(gaussian_blur(pictures, pair.sigma, clip01=True), -screen_coords)
    blurred_holes, blurred_union = blurred.split(channels, 1)

    cost = prediction * (1 - blurred_holes) + outside * (1 - blurred_union)
    if pair.pixel_weight is not None:
        expect_shape("pixel_weight", pair.pixel_weight, n, channels, height, width)
        cost = cost * pair.pixel_weight.detach()
    cost = cost.sum((1, 2, 3))
    if sample_weight is not None:
        expect_shape("sample_weight", sample_weight, n)
        cost = cost * sample_weight
    return cost.sum() / mean_over_processes(prediction.sum() + outside.sum()).clamp_min(1)
