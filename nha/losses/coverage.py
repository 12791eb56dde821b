"""Terms of the blend model that compare antialiased coverage and composited colours with the annotations.

The rendered alpha and colours are antialiased at silhouettes (`nha/render/antialias.py`), so their gradient moves the
silhouette by fractions of a pixel. `docs/method.md`, section 4.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from nha.core.images import screen_grad
from nha.core.processes import mean_over_processes
from nha.losses.image_ops import can_fuse, fused_colour_loss
from nha.losses.inputs import LossInputs
from nha.losses.photometric import UNITS_PER_RGB01
from nha.losses.shapes import expect_mask, expect_shape

# Weight of pixels outside the foreground. The masks are binary, so pixels at their rim show the person in full colour,
# while an antialiased rendering blends them with the background; a rim inside costs more than one outside.
OUTSIDE_WEIGHT = 0.5
# Sides in pixels of the squares over which coverage is averaged before it is compared. The gradient of a square reaches
# the silhouette inside it, so that wide gaps pull harder than narrow ones.
COVERAGE_SCALES = (1, 2, 4, 8)


def coverage_loss(alpha: Tensor, foreground: Tensor) -> Tensor:
    """Squared difference of coverage and foreground mask at several scales, relative to the foreground's area.

    Args:
        alpha: [N, 1, H, W] in 0..1, antialiased.
        foreground: bool [N, 1, H, W].

    Returns:
        A scalar: the mean over COVERAGE_SCALES of the sum over all pixels, divided by the number of foreground pixels.
    """
    n, _, height, width = alpha.shape
    expect_shape("alpha", alpha, None, 1, None, None)
    expect_mask("foreground", foreground)
    expect_shape("foreground", foreground, n, 1, height, width)
    weighted = (alpha - foreground.to(alpha)) * _pixel_weight(foreground).sqrt()
    total = sum(side**2 * _means(weighted, side).square().sum() for side in COVERAGE_SCALES)
    return total / len(COVERAGE_SCALES) / mean_over_processes(foreground.sum()).clamp_min(1)


def _means(values: Tensor, side: int) -> Tensor:
    """Means over squares of side x side pixels; squares at the border are filled up with 0."""
    if side == 1:
        return values
    height, width = values.shape[2:]
    return F.avg_pool2d(F.pad(values, (0, -width % side, 0, -height % side)), side)


def composite_loss(rgb01: Tensor, target_rgb01: Tensor, foreground: Tensor, screen_coords: Tensor) -> Tensor:
    """L1 between the whole rendered and target image, both on white, in units of -1..1.

    The gradient flows to `rgb01`, and through the target to `screen_coords`.

    Args:
        rgb01, target_rgb01: [N, 3, H, W] in 0..1 on white (`whiten_background`).
        foreground: bool [N, 1, H, W].
        screen_coords: [N, H, W, 2] in -1..1, x left and y up.

    Returns:
        A scalar, the sum over all pixels divided by three times the number of foreground pixels.
    """
    expect_images(rgb01, target_rgb01, foreground, screen_coords)
    if can_fuse(rgb01, target_rgb01):
        images = rgb01, target_rgb01, foreground, screen_coords
        return fused_colour_loss(*images, scale=UNITS_PER_RGB01, outside=OUTSIDE_WEIGHT)
    difference = image_difference(rgb01, target_rgb01, screen_coords)
    difference = (difference.abs() * _pixel_weight(foreground)).sum()
    return UNITS_PER_RGB01 * difference / mean_over_processes(3 * foreground.sum()).clamp_min(1)


def expect_images(rgb01: Tensor, target_rgb01: Tensor, mask: Tensor, screen_coords: Tensor) -> None:
    """Check the shapes of the arguments of `composite_loss`; mask: bool [N, 1, H, W], the pixels compared."""
    n, _, height, width = rgb01.shape
    expect_shape("rgb01", rgb01, None, 3, None, None)
    expect_shape("target_rgb01", target_rgb01, n, 3, height, width)
    expect_mask("mask", mask)
    expect_shape("mask", mask, n, 1, height, width)
    expect_shape("screen_coords", screen_coords, n, height, width, 2)


def image_difference(rgb01: Tensor, target_rgb01: Tensor, screen_coords: Tensor) -> Tensor:
    """Rendered minus target image [N, 3, H, W], whose gradient also moves the surface."""
    return rgb01 - screen_grad(target_rgb01, -screen_coords)  # screen_grad takes x to the right and y down


def _pixel_weight(foreground: Tensor) -> Tensor:
    return torch.where(foreground, 1.0, OUTSIDE_WEIGHT)


def coverage_term(inputs: LossInputs) -> Tensor:
    """The coverage loss of a rendered batch."""
    return coverage_loss(inputs.rendering.alpha, inputs.foreground)


def composite_term(inputs: LossInputs) -> Tensor:
    """The composite loss of a rendered batch."""
    return composite_loss(
        inputs.rendering.rgb01, inputs.target_rgb01, inputs.foreground, inputs.screen_coords
    )
