"""The hole-filling segmentation loss: it moves a rendered region onto a target region. `docs/method.md`, section 4.

A rendered label is constant inside a triangle, so its image has no useful derivative. The loss therefore evaluates
two blurred images at the rendered pixels: `union`, where a rendered pixel has zero loss, and `holes`, the target pixels
that nothing covers. The blur gives both images a slope, and `screen_grad` turns the slope into a gradient of the
surface point behind each pixel: towards the holes, and from outside back into the union.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nha.core.constants import constant
from nha.core.images import gaussian_blur, screen_grad
from nha.core.processes import mean_over_processes
from nha.losses.shapes import expect_mask, expect_shape


@dataclass(frozen=True)
class SegmentationPair:
    """A rendered and a target binary segmentation.

    Attributes:
        prediction: bool [N, C, H, W], from the rendered mesh.
        target: bool [N, C, H, W], from the annotations.
        sigma: standard deviation of the blur in pixels.
        pixel_weight: [N, C, H, W], used without gradient; None is 1 everywhere.
        sample_weight: [N], for instance the semantic trust; None is 1 for all frames.
    """

    prediction: Tensor
    target: Tensor
    sigma: float
    pixel_weight: Tensor | None = None
    sample_weight: Tensor | None = None

    def iou(self) -> Tensor:
        """Intersection over union pooled over batch and channels, a scalar for the log."""
        return pooled_iou(self.prediction, self.target)


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
    return _iou((prediction & target).sum(), (prediction | target).sum())


def _iou(intersection: Tensor, union: Tensor) -> Tensor:
    return torch.where(union > 0, intersection / union.clamp_min(1), 1.0)


def hole_filling_loss(
    pair: SegmentationPair, screen_coords: Tensor, sample_weight: Tensor | None = None
) -> Tensor:
    """The hole-filling segmentation loss of one pair, a scalar; see `hole_filling_losses`.

    sample_weight: [N], in place of the pair's own.
    """
    if sample_weight is not None:
        pair = replace(pair, sample_weight=sample_weight)
    return hole_filling_losses([pair], screen_coords)[0][0]


def hole_filling_losses(pairs: Sequence[SegmentationPair], screen_coords: Tensor) -> tuple[Tensor, Tensor]:
    """The hole-filling segmentation losses of T pairs of binary images. `docs/method.md`, section 4.

    The weighted sum of (1 - blurred holes) over the rendered pixels, plus the weighted sum of (1 - blurred union) over
    the pixels rendered outside the target, divided by the *unweighted* number of both kinds of pixels in the batch.
    All pairs are computed together, because each operation costs a launch.

    Args:
        pairs: the segmentations.
        screen_coords: [N, H, W, 2] in -1..1, x left and y up; the only argument that receives a gradient.

    Returns:
        The losses [T], pooled over the pixels of all frames, 0 where nothing is rendered; and the intersections over
        union [T].

    Raises:
        ValueError: the shapes do not fit.
    """
    for pair in pairs:
        _check(pair, screen_coords)
    order = sorted(range(len(pairs)), key=lambda i: pairs[i].sigma)  # so that those of one blur lie together
    pairs = [pairs[i] for i in order]
    channels = [pair.prediction.shape[1] for pair in pairs]
    prediction = _joined([pair.prediction for pair in pairs])
    target = _joined([pair.target for pair in pairs])
    outside, union = prediction & ~target, prediction | target
    blurred = _blurred([target & ~prediction, union], pairs, channels, screen_coords)

    cost = prediction * (1 - blurred[0]) + outside * (1 - blurred[1])
    if any(pair.pixel_weight is not None for pair in pairs):
        cost = cost * _joined([_pixel_weight(pair) for pair in pairs])
    cost = cost.sum((2, 3))  # [N, channels]
    if any(pair.sample_weight is not None for pair in pairs):
        cost = cost * _joined([_sample_weight(pair) for pair in pairs])
    counts = torch.stack([prediction, outside, target]).sum((1, 3, 4))  # [3, channels]
    owner = tuple(order[i] for i, count in enumerate(channels) for _ in range(count))
    owner = constant(owner, counts)
    costs = cost.new_zeros(len(pairs)).index_add(0, owner, cost.sum(0))
    rendered, outside, wanted = counts.new_zeros(3, len(pairs)).index_add(1, owner, counts)
    losses = costs / mean_over_processes(rendered + outside).clamp_min(1)
    return losses, _iou(rendered - outside, wanted + outside)


def _check(pair: SegmentationPair, screen_coords: Tensor) -> None:
    n, channels, height, width = pair.prediction.shape
    expect_mask("prediction", pair.prediction)
    expect_mask("target", pair.target)
    expect_shape("target", pair.target, n, channels, height, width)
    expect_shape("screen_coords", screen_coords, n, height, width, 2)
    if pair.pixel_weight is not None:
        expect_shape("pixel_weight", pair.pixel_weight, n, channels, height, width)
    if pair.sample_weight is not None:
        expect_shape("sample_weight", pair.sample_weight, n)


def _joined(parts: Sequence[Tensor]) -> Tensor:
    """The channels of several images [N, C, ...]."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts), 1)


def _pixel_weight(pair: SegmentationPair) -> Tensor:
    if pair.pixel_weight is not None:
        return pair.pixel_weight.detach()
    return _one(pair.target).expand(pair.prediction.shape)


def _sample_weight(pair: SegmentationPair) -> Tensor:
    n, channels = pair.prediction.shape[:2]
    if pair.sample_weight is not None:
        return pair.sample_weight[:, None].expand(n, channels)
    return _one(pair.target).expand(n, channels)


def _one(like: Tensor) -> Tensor:
    return constant((1.0,), like, torch.float32)


def _blurred(
    images: Sequence[Tensor], pairs: Sequence[SegmentationPair], channels: Sequence[int], coords: Tensor
) -> Sequence[Tensor]:
    """Images bool [N, C, H, W], blurred by the widths of their pairs; their slope moves the coordinates."""
    parts: list[list[Tensor]] = []  # for each width its channels of each image
    first = 0
    for sigma, group in itertools.groupby(range(len(pairs)), key=lambda i: pairs[i].sigma):
        last = first + sum(channels[i] for i in group)
        both = torch.cat([image[:, first:last] for image in images], 1).to(coords.dtype)
        parts.append(list(gaussian_blur(both, sigma, clip01=True).split(last - first, 1)))
        first = last
    stacked = torch.cat([part for of_image in zip(*parts, strict=True) for part in of_image], 1)
    # screen_grad takes x to the right and y down, screen_coords have the opposite signs
    return screen_grad(stacked, -coords).split(first, 1)
