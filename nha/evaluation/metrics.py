"""Image metrics. `docs/method.md`, section 8.

All images are [N, 3, H, W] in 0..1 on white: the prediction as rendered by the avatar, the target with white instead
of background and clothes. Every metric has one value per frame, [N]. The caller takes means over frames, so a mean PSNR
is the mean of the frames' PSNR, not the PSNR of the mean error.

"Inside the head mask" means the pixels of the segmentation's foreground (head, hair, beard, ...; no clothes), whether
the avatar covers them or not: a hole in the rendered head counts as white pixels.

Metrics that need weights or another package are in `optional_metrics`, sharpness is in `cpbd`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    structural_similarity_index_measure,
)

# MS-SSIM has five scales; the coarsest is 1/16 and must be larger than the window of 11 pixels.
MS_SSIM_SMALLEST_PX = 11 * 16


def mean_absolute_error(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean |prediction - target| over pixels (inside the mask) and channels: [N], in 0..1 units."""
    return masked_mean((prediction - target).abs(), mask)


def mean_squared_error(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean (prediction - target)² over pixels (inside the mask) and channels: [N]."""
    return masked_mean((prediction - target) ** 2, mask)


def psnr(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Peak signal-to-noise ratio, -10 log10(mean squared error): [N] in dB; NaN where the mask is empty."""
    return -10 * torch.log10(mean_squared_error(prediction, target, mask))


def ssim_map(prediction: Tensor, target: Tensor) -> Tensor:
    """Structural similarity of the window around each pixel: [N, 3, H, W]; SSIM is the `masked_mean` of it.

    Gaussian window of 11 pixels with sigma 1.5, k1 = 0.01, k2 = 0.03, data range 1. Windows at the border of a mask
    include pixels outside.
    """
    _, similarity = structural_similarity_index_measure(
        prediction, target, data_range=1.0, reduction="none", return_full_image=True
    )
    return similarity


def ms_ssim(prediction: Tensor, target: Tensor) -> Tensor | None:
    """Multi-scale structural similarity of the whole image, five scales with their usual weights: [N].

    None for images whose shorter side is below `MS_SSIM_SMALLEST_PX`, where the metric is not defined.
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
    """Mean over pixels (inside the mask) and channels.

    Args:
        values: [N, C, H, W].
        mask: bool [N, 1, H, W]; None for all pixels.

    Returns:
        [N]; NaN where the mask is empty.

    Raises:
        ValueError: if the mask has another type or shape.
    """
    if mask is None:
        return values.flatten(1).mean(1)
    if mask.dtype != torch.bool or mask.shape != (len(values), 1, *values.shape[2:]):
        raise ValueError(f"mask must be bool [N, 1, H, W], got {mask.dtype} {list(mask.shape)}")
    count = mask.flatten(1).sum(1) * values.shape[1]
    return (values * mask).flatten(1).sum(1) / count
