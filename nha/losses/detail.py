"""Terms of the blend model that sharpen its images: differences of neighbouring pixels, and eyes and mouth.

`docs/method.md`, section 4.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from nha.core.conventions import Parsing
from nha.core.processes import mean_over_processes
from nha.losses.coverage import expect_images, image_difference
from nha.losses.image_ops import can_fuse, fused_colour_loss, fused_gradient_loss
from nha.losses.inputs import LossInputs
from nha.losses.masks import parsing_mask
from nha.losses.photometric import UNITS_PER_RGB01

# Sides in pixels of the squares over which images are averaged before their neighbours are compared.
GRADIENT_SCALES = (1, 2)
# The parts of the face that carry expressions.
FEATURES = (
    *(Parsing.L_EYE, Parsing.R_EYE, Parsing.L_BROW, Parsing.R_BROW),
    *(Parsing.MOUTH, Parsing.U_LIP, Parsing.L_LIP),
)


def gradient_loss(rgb01: Tensor, target_rgb01: Tensor, inside: Tensor, screen_coords: Tensor) -> Tensor:
    """L1 between the differences of neighbouring pixels of two images, in units of -1..1.

    A blurred image has small differences, so this term costs where L1 of the colours hardly does. The gradient flows
    to `rgb01`, and through the target to `screen_coords`.

    Args:
        rgb01, target_rgb01: [N, 3, H, W] in 0..1 on white (`whiten_background`).
        inside: bool [N, 1, H, W]; only pairs of neighbours that are both set count.
        screen_coords: [N, H, W, 2] in -1..1, x left and y up.

    Returns:
        A scalar: the mean over GRADIENT_SCALES and both directions of the sum over all pairs, divided by three times
        the number of pixels that are set; a square counts as its pixels.
    """
    expect_images(rgb01, target_rgb01, inside, screen_coords)
    scale = UNITS_PER_RGB01 / (2 * len(GRADIENT_SCALES))
    if can_fuse(rgb01, target_rgb01):
        return fused_gradient_loss(rgb01, target_rgb01, inside, screen_coords, scale)
    difference = image_difference(rgb01, target_rgb01, screen_coords)
    total = 0.0
    for side in GRADIENT_SCALES:
        error, whole = difference, inside.to(difference)
        if side > 1:
            error, whole = F.avg_pool2d(error, side), (F.avg_pool2d(whole, side) == 1).to(error)
        for axis in (2, 3):
            n_pairs = whole.shape[axis] - 1
            pairs = whole.narrow(axis, 1, n_pairs) * whole.narrow(axis, 0, n_pairs)
            total = total + (error.diff(dim=axis).abs() * pairs).sum() * side**2
    return scale * total / mean_over_processes(3 * inside.sum()).clamp_min(1)


def feature_loss(rgb01: Tensor, target_rgb01: Tensor, features: Tensor, screen_coords: Tensor) -> Tensor:
    """L1 between rendered and target image inside a small part of the face, in units of -1..1.

    Args:
        rgb01, target_rgb01, screen_coords: as in `gradient_loss`.
        features: bool [N, 1, H, W], the pixels that count.

    Returns:
        A scalar, the mean over these pixels; 0 without any.
    """
    expect_images(rgb01, target_rgb01, features, screen_coords)
    if can_fuse(rgb01, target_rgb01):
        images = rgb01, target_rgb01, features, screen_coords
        return fused_colour_loss(*images, scale=UNITS_PER_RGB01, outside=0.0)
    difference = image_difference(rgb01, target_rgb01, screen_coords).abs() * features
    return UNITS_PER_RGB01 * difference.sum() / mean_over_processes(3 * features.sum()).clamp_min(1)


def gradient_term(inputs: LossInputs) -> Tensor:
    """The gradient loss of a rendered batch, inside the foreground."""
    return gradient_loss(inputs.rendering.rgb01, inputs.target_rgb01, inputs.foreground, inputs.screen_coords)


def feature_term(inputs: LossInputs) -> Tensor:
    """The colours of eyes, brows and mouth of a rendered batch."""
    mask = parsing_mask(inputs.batch.parsing, *FEATURES) & inputs.foreground
    return feature_loss(inputs.rendering.rgb01, inputs.target_rgb01, mask, inputs.screen_coords)
