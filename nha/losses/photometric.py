"""The photometric term: L1 between rendered and target colours. `docs/method.md`, section 4."""

from __future__ import annotations

import torch
from torch import Tensor

from nha.core.images import screen_grad
from nha.core.launches import uses_fused_kernels
from nha.core.processes import mean_over_processes
from nha.losses.inputs import LossInputs
from nha.losses.screen_ops import fused_screen_l1
from nha.losses.shapes import expect_mask, expect_shape

UNITS_PER_RGB01 = 2.0  # the method measures colours in -1..1


def photometric_loss(rgb01: Tensor, target_rgb01: Tensor, mask: Tensor, screen_coords: Tensor) -> Tensor:
    """L1 between rendered and target colours in units of -1..1.

    The gradient flows to `rgb01`, and through the target to `screen_coords`.

    Args:
        rgb01, target_rgb01: [N, 3, H, W] in 0..1; the target has a white background (`whiten_background`).
        mask: bool [N, 1, H, W], foreground and rendered.
        screen_coords: [N, H, W, 2] in -1..1, x left and y up.

    Returns:
        A scalar, the mean over the masked pixels of all frames and three channels; 0 for an empty mask.
    """
    n, _, height, width = rgb01.shape
    expect_shape("rgb01", rgb01, None, 3, None, None)
    expect_shape("target_rgb01", target_rgb01, n, 3, height, width)
    expect_mask("mask", mask)
    expect_shape("mask", mask, n, 1, height, width)
    expect_shape("screen_coords", screen_coords, n, height, width, 2)
    if uses_fused_kernels(rgb01.device) and rgb01.dtype == torch.float32:
        return fused_screen_l1(rgb01, target_rgb01, mask, screen_coords, UNITS_PER_RGB01)
    target = screen_grad(target_rgb01, -screen_coords)  # screen_grad takes x to the right and y down
    difference = (rgb01 - target).abs() * mask
    return UNITS_PER_RGB01 * difference.sum() / mean_over_processes(3 * mask.sum()).clamp_min(1)


def rgb_term(inputs: LossInputs) -> Tensor:
    """The photometric loss of a rendered batch, over the pixels that are foreground, rendered and painted."""
    rendering = inputs.rendering
    mask = inputs.foreground & (rendering.alpha > 0.5)
    if rendering.painted is not None:
        mask = mask & rendering.painted
    return photometric_loss(rendering.rgb01, inputs.target_rgb01, mask, inputs.screen_coords)
