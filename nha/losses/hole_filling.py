"""The hole-filling segmentation loss: it moves a rendered region onto a target region. `docs/method.md`, section 4.

A rendered label is constant inside a triangle, so its image has no useful derivative. The loss therefore evaluates
two blurred images at the rendered pixels: `union`, where a rendered pixel has zero loss, and `holes`, the target pixels
that nothing covers. The blur gives both images a slope, and `screen_grad` turns the slope into a gradient of the
surface point behind each pixel: towards the holes, and from outside back into the union.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nha.core.images import gaussian_blur, screen_grad
from nha.core.processes import mean_over_processes
from nha.losses.inputs import LossInputs
from nha.losses.shapes import expect_mask, expect_shape


@torch.no_grad()
def pooled_iou(prediction: Tensor, target: Tensor) -> Tensor:
    """Intersection over union, pooled over the batch and the channels.

    Args:
        prediction, target: bool [N, C, H, W].

    Returns:
        A scalar in 0..1 without gradient; 1 where both are empty.
    """
    if prediction.shape != target.shape:
        raise ValueError(
            f"prediction {tuple(prediction.shape)} and target {tuple(target.shape)} differ in shape"
        )
    union = (prediction | target).sum()
    intersection = (prediction & target).sum()
    return torch.where(union > 0, intersection / union.clamp_min(1), 1.0)


@dataclass(frozen=True)
class SegmentationPair:
    """A rendered and a target binary segmentation.

    Attributes:
        prediction: bool [N, C, H, W], from the rendered mesh.
        target: bool [N, C, H, W], from the annotations.
        sigma: standard deviation of the blur in pixels.
        pixel_weight: [N, C, H, W], used without gradient; None is 1 everywhere.
    """

    prediction: Tensor
    target: Tensor
    sigma: float
    pixel_weight: Tensor | None = None

    def iou(self) -> Tensor:
        """Intersection over union pooled over batch and channels, a scalar for the log."""
        return pooled_iou(self.prediction, self.target)


def hole_filling_loss(
    pair: SegmentationPair, screen_coords: Tensor, sample_weight: Tensor | None = None
) -> Tensor:
    """The hole-filling segmentation loss of a pair of binary images. `docs/method.md`, section 4.

    The weighted sum of (1 - blurred holes) over the rendered pixels, plus the weighted sum of (1 - blurred union) over
    the pixels rendered outside the target, divided by the *unweighted* number of both kinds of pixels in the batch.

    Args:
        pair: the segmentations.
        screen_coords: [N, H, W, 2] in -1..1, x left and y up; the only argument that receives a gradient.
        sample_weight: [N], for instance the semantic trust.

    Returns:
        A scalar, pooled over the pixels of all frames; 0 where nothing is rendered.

    Raises:
        ValueError: the shapes do not fit.
    """
    prediction, target = pair.prediction, pair.target
    n, channels, height, width = prediction.shape
    expect_mask("prediction", prediction)
    expect_mask("target", target)
    expect_shape("target", target, n, channels, height, width)
    expect_shape("screen_coords", screen_coords, n, height, width, 2)

    outside = prediction & ~target
    holes = target & ~prediction
    images = torch.cat([holes, prediction | target], 1).to(screen_coords.dtype)
    # screen_grad takes x to the right and y down, screen_coords have the opposite signs
    blurred = screen_grad(gaussian_blur(images, pair.sigma, clip01=True), -screen_coords)
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


def hole_filling_term(
    inputs: LossInputs, pair: SegmentationPair, sample_weight: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The hole-filling loss of a pair of a rendered batch, and its intersection over union for the log."""
    return hole_filling_loss(pair, inputs.screen_coords, sample_weight), pair.iou()
