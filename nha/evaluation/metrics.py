"""Image metrics, defined exactly. Method, section 8.

All pictures are [N, 3, H, W] in 0..1 on white: the prediction as the avatar draws it, the target with white
instead of background and clothes. Every metric has one value per frame, [N]; means over frames are taken by the
caller (so a mean PSNR is the mean of the frames' PSNR, not the PSNR of the mean error).

"Inside the head mask" means pixels of the segmentation's foreground (head, hair, beard, ...; no clothes), whether
the avatar covers them or not: a hole in the head counts as the white that it shows.

What needs weights or another package is in `optional_metrics`, sharpness in `cpbd`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    structural_similarity_index_measure,
)

# Of the five scales of MS-SSIM, the coarsest is 1/16 and must be larger than the 11 taps of the window.
MS_SSIM_SMALLEST_PX = 11 * 16


def mean_absolute_error(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean |prediction - target| over pixels (of the mask) and channels: [N], in 0..1 units."""
    return masked_mean((prediction - target).abs(), mask)


def mean_squared_error(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean (prediction - target)² over pixels (of the mask) and channels: [N]."""
    return masked_mean((prediction - target) ** 2, mask)


def psnr(prediction: Tensor, target: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of the whole picture, -10 log10(mean squared error): [N] in dB."""
    return -10 * torch.log10(mean_squared_error(prediction, target))


def masked_psnr(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """PSNR of the pixels inside `mask` (bool [N, 1, H, W]) alone: [N] in dB; NaN where the mask is empty."""
    return -10 * torch.log10(mean_squared_error(prediction, target, mask))


def ssim(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Structural similarity (Gaussian window of 11 taps, sigma 1.5, k 0.01 and 0.03, data range 1): [N].

    The map of local similarities is averaged over the picture, or over the pixels inside `mask`; the windows of
    pixels at the mask's border also see what lies outside.
    """
    return masked_mean(ssim_map(prediction, target), mask)


def ssim_map(prediction: Tensor, target: Tensor) -> Tensor:
    """The similarity of the window about each pixel, see `ssim`: [N, 3, H, W]."""
    _, similarity = structural_similarity_index_measure(
        prediction, target, data_range=1.0, reduction="none", return_full_image=True
    )
    return similarity


def ms_ssim(prediction: Tensor, target: Tensor) -> Tensor | None:
    """Multi-scale structural similarity of the whole picture, five scales with their usual weights: [N].

    None for pictures whose shorter side is below MS_SSIM_SMALLEST_PX: the metric is not defined there.
    """
    if min(prediction.shape[2:]) < MS_SSIM_SMALLEST_PX:
        return None
    return multiscale_structural_similarity_index_measure(
        prediction, target, data_range=1.0, reduction="none", normalize="relu"
    )


def intersection_over_union(prediction: Tensor, target: Tensor) -> Tensor:
    """IoU of two masks, bool [N, 1, H, W]: [N]; 1 where both are empty."""
    both, either = (prediction & target).flatten(1).sum(1), (prediction | target).flatten(1).sum(1)
    return torch.where(either > 0, both / either.clamp_min(1), 1.0)


def masked_mean(values: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean of [N, C, H, W] over pixels (inside mask, bool [N, 1, H, W]) and channels: [N]; NaN where it is empty."""
    if mask is None:
        return values.flatten(1).mean(1)
    if mask.dtype != torch.bool or mask.shape != (len(values), 1, *values.shape[2:]):
        raise ValueError(f"mask must be bool [N, 1, H, W], got {mask.dtype} {list(mask.shape)}")
    count = mask.flatten(1).sum(1) * values.shape[1]
    return (values * mask).flatten(1).sum(1) / count
