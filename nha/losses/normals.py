"""The normal term: high frequencies of rendered against estimated normals. `docs/method.md`, section 4.

Estimated normals are accurate in their high frequencies only, so a blurred copy is subtracted from rendered and
estimated normals before they are compared.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nha.core.conventions import Parsing
from nha.core.images import erode, gaussian_blur, largest_near, screen_grad
from nha.core.launches import uses_fused_kernels
from nha.core.processes import mean_over_processes
from nha.losses.inputs import LossInputs
from nha.losses.masks import parsing_mask
from nha.losses.normal_mask_ops import (
    NORMAL_PRESENT,
    OUTSIDE_PART,
    TRUSTED,
    absent_normals,
    masked_normals,
)
from nha.losses.screen_ops import BLUR_EPS, fused_screen_l1
from nha.losses.shapes import expect_mask, expect_shape

EXCLUDED = ("mouth", "left_eyeball", "right_eyeball")
EYE_REGIONS = ("left_eye_region", "right_eye_region")
FACE_LABELS = (Parsing.SKIN, Parsing.NOSE, Parsing.L_BROW, Parsing.R_BROW, Parsing.U_LIP, Parsing.L_LIP)
SIZE_IN_RADII = 50  # blur sigma and erosion radius are the longer image side divided by this


@torch.no_grad()
def normal_mask(
    target_normals: Tensor,
    parsing: Tensor,
    alpha: Tensor,
    excluded_labels: Tensor,
    eye_region_labels: Tensor,
    semantic_trust: Tensor,
) -> Tensor:
    """Where rendered and estimated normals are compared.

    Args:
        target_normals: [N, 3, H, W] in -1..1, 0 where unknown.
        parsing: [N, H, W] labels of `Parsing`.
        alpha: [N, 1, H, W].
        excluded_labels: [N, 3, H, W] hard labels of mouth, left and right eyeball.
        eye_region_labels: [N, 2, H, W] hard labels of the left and right eye region, which are excluded only in
            frames whose labels are not trusted.
        semantic_trust: [N] in 0..1.

    Returns:
        bool [N, 1, H, W].
    """
    n, _, height, width = target_normals.shape
    expect_shape("alpha", alpha, n, 1, height, width)
    expect_shape("semantic_trust", semantic_trust, n)
    present = (target_normals.abs() > NORMAL_PRESENT).any(1, keepdim=True)
    present = erode(present, max(height, width) // SIZE_IN_RADII)
    trusted = (semantic_trust > TRUSTED)[:, None, None, None]
    return (
        present
        & parsing_mask(parsing, *FACE_LABELS)
        & (alpha > 0.5)
        & (excluded_labels < OUTSIDE_PART).all(1, keepdim=True)
        & (trusted | (eye_region_labels < OUTSIDE_PART).all(1, keepdim=True))
    )


def normal_loss(normals: Tensor, target_normals: Tensor, mask: Tensor, screen_coords: Tensor) -> Tensor:
    """L1 between the high frequencies of rendered and estimated normals.

    The gradient flows to `normals`, and through the high frequencies of the estimated normals to `screen_coords`.

    Args:
        normals, target_normals: [N, 3, H, W], x right, y down, z to the camera.
        mask: bool [N, 1, H, W].
        screen_coords: [N, H, W, 2] in -1..1, x left and y up.

    Returns:
        A scalar, the mean over the masked pixels of all frames and three channels; 0 for an empty mask.
    """
    n, _, height, width = normals.shape
    expect_shape("normals", normals, None, 3, None, None)
    expect_shape("target_normals", target_normals, n, 3, height, width)
    expect_mask("mask", mask)
    expect_shape("mask", mask, n, 1, height, width)
    expect_shape("screen_coords", screen_coords, n, height, width, 2)
    mask = mask.to(normals.dtype)
    low, low_target = _masked_blur(normals, target_normals, mask)
    details = normals - mask * low
    # the details of the target give a gradient to the positions; screen_grad takes x to the right and y down
    target_details = screen_grad(target_normals - mask * low_target, -screen_coords)
    return ((details - target_details).abs() * mask).sum() / mean_over_processes(3 * mask.sum()).clamp_min(1)


@torch.no_grad()  # the blur is a reference level through which neighbouring normals get no gradient
def _masked_blur(normals: Tensor, target_normals: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    sigma = max(normals.shape[2:]) / SIZE_IN_RADII
    stacked = torch.cat([normals * mask, target_normals * mask, mask], 1)
    blurred = gaussian_blur(stacked, sigma)
    return (blurred[:, :6] / (blurred[:, 6:] + BLUR_EPS)).split(3, 1)


def normal_term(inputs: LossInputs) -> Tensor:
    """The normal loss of a rendered batch."""
    batch, gbuffer = inputs.batch, inputs.rendering.gbuffer
    if uses_fused_kernels(batch.normals.device) and gbuffer["normals"].dtype == torch.float32:
        return _fused_term(inputs)
    mask = normal_mask(
        batch.normals,
        batch.parsing,
        gbuffer.alpha,
        inputs.hard(*EXCLUDED),
        inputs.hard(*EYE_REGIONS),
        inputs.semantic_trust,
    )
    return normal_loss(gbuffer["normals"], batch.normals, mask, inputs.screen_coords)


def _fused_term(inputs: LossInputs) -> Tensor:
    """`normal_term` in few launches."""
    batch, gbuffer = inputs.batch, inputs.rendering.gbuffer
    normals, target, longer = gbuffer["normals"], batch.normals, max(batch.normals.shape[2:])
    absent, radius = absent_normals(target), longer // SIZE_IN_RADII
    mask, stacked = masked_normals(
        normals.detach(),
        target,
        largest_near(absent, radius),
        batch.parsing,
        gbuffer.alpha,
        gbuffer["hard_labels"],
        inputs.semantic_trust,
        FACE_LABELS,
        [gbuffer.part_names.index(name) for name in EXCLUDED],
        [gbuffer.part_names.index(name) for name in EYE_REGIONS],
    )
    blurred = gaussian_blur(stacked, longer / SIZE_IN_RADII)
    return fused_screen_l1(normals, target, mask, inputs.screen_coords, 1.0, blurred)
