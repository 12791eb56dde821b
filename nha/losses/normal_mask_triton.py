"""Triton kernels of `nha/losses/normal_mask_ops.py`: each lane computes a pixel.

With TRITON_INTERPRET=1 set before the import the kernels run on the CPU (slowly, for tests).
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from nha.losses.normal_mask_ops import NORMAL_PRESENT, OUTSIDE_PART, TRUSTED
from nha.losses.screen_ops import LANES
from nha.losses.screen_triton import grid, steps

_PRESENT = tl.constexpr(NORMAL_PRESENT)
_OUTSIDE = tl.constexpr(OUTSIDE_PART)
_TRUSTED = tl.constexpr(TRUSTED)


@triton.jit
def _absent_normals(
    target_ptr,  # [N, 3, H, W]
    absent_ptr,  # [N, H, W], written
    pixels,
    target_n,
    target_c,
    target_p,
    LANES: tl.constexpr,
):
    pixel = tl.program_id(0) * LANES + tl.arange(0, LANES)
    n = tl.program_id(1).to(tl.int64)
    lanes = pixel < pixels
    largest = tl.zeros([LANES], tl.float32)
    for c in tl.static_range(3):
        place = target_ptr + n * target_n + c * target_c + pixel * target_p
        largest = tl.maximum(largest, tl.abs(tl.load(place, mask=lanes, other=0.0)))
    tl.store(absent_ptr + n * pixels + pixel, tl.where(largest > _PRESENT, 0.0, 1.0), mask=lanes)


@triton.jit
def _masked_normals(
    normals_ptr,  # [N, 3, H, W]
    target_ptr,  # [N, 3, H, W]
    absent_ptr,  # [N, H, W]
    parsing_ptr,  # [N, H, W] integers
    alpha_ptr,  # [N, H, W]
    labels_ptr,  # [N, P, H, W]
    trust_ptr,  # [N]
    mask_ptr,  # [N, H, W] uint8, written
    stacked_ptr,  # [N, 7, H, W], written
    face_labels,  # a bit for each value of parsing
    pixels,
    normals_n,
    normals_c,
    normals_p,
    target_n,
    target_c,
    target_p,
    alpha_n,
    alpha_p,
    labels_n,
    labels_c,
    labels_p,
    EXCLUDED: tl.constexpr,  # a bit for each channel of labels
    EYES: tl.constexpr,
    PARTS: tl.constexpr,
    LANES: tl.constexpr,
):
    pixel = tl.program_id(0) * LANES + tl.arange(0, LANES)
    n = tl.program_id(1).to(tl.int64)
    lanes = pixel < pixels
    label = tl.load(parsing_ptr + n * pixels + pixel, mask=lanes, other=0).to(tl.int32)
    inside = (tl.load(absent_ptr + n * pixels + pixel, mask=lanes, other=1.0) < 0.5) & lanes
    inside = inside & (label < 31) & (((face_labels >> tl.minimum(label, 30)) & 1) != 0)
    inside = inside & (tl.load(alpha_ptr + n * alpha_n + pixel * alpha_p, mask=lanes, other=0.0) > 0.5)
    # all labels are below the limit of a frame whose labels are trusted
    eye_limit = tl.where(tl.load(trust_ptr + n) > _TRUSTED, float("inf"), _OUTSIDE)
    for part in tl.static_range(PARTS):
        if ((EXCLUDED | EYES) >> part) & 1:
            place = labels_ptr + n * labels_n + part * labels_c + pixel * labels_p
            label_value = tl.load(place, mask=lanes, other=0.0)
            if (EXCLUDED >> part) & 1:
                inside = inside & (label_value < _OUTSIDE)
            else:
                inside = inside & (label_value < eye_limit)
    number = inside.to(tl.float32)
    tl.store(mask_ptr + n * pixels + pixel, inside.to(tl.uint8), mask=lanes)
    stacked = stacked_ptr + n * 7 * pixels + pixel
    for c in tl.static_range(3):
        ours = tl.load(normals_ptr + n * normals_n + c * normals_c + pixel * normals_p, mask=lanes, other=0.0)
        wanted = tl.load(target_ptr + n * target_n + c * target_c + pixel * target_p, mask=lanes, other=0.0)
        tl.store(stacked + c * pixels, ours * number, mask=lanes)
        tl.store(stacked + (3 + c) * pixels, wanted * number, mask=lanes)
    tl.store(stacked + 6 * pixels, number, mask=lanes)


def absent_normals(target: Tensor, absent: Tensor) -> None:
    """Write where normals are unknown."""
    pixels = target.shape[2] * target.shape[3]
    _absent_normals[grid(target)](target, absent, pixels, *steps(target), LANES=LANES, num_warps=4)


def masked_normals(
    normals: Tensor,
    target: Tensor,
    absent: Tensor,
    parsing: Tensor,
    alpha: Tensor,
    labels: Tensor,
    trust: Tensor,
    face_labels: int,
    excluded: list[int],
    eye_regions: list[int],
    mask: Tensor,
    stacked: Tensor,
) -> None:
    """Write the mask of the normal term and the images that it blurs."""
    _masked_normals[grid(normals)](
        normals,
        target,
        absent,
        parsing,
        alpha,
        labels,
        trust,
        mask.view(torch.uint8),
        stacked,
        face_labels,
        normals.shape[2] * normals.shape[3],
        *steps(normals),
        *steps(target),
        alpha.stride(0),
        alpha.stride(3),
        *steps(labels),
        EXCLUDED=sum(1 << part for part in excluded),
        EYES=sum(1 << part for part in eye_regions),
        PARTS=labels.shape[1],
        LANES=LANES,
        num_warps=4,
    )
