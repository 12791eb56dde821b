"""Triton kernels of `nha/losses/screen_ops.py`: each lane computes a pixel.

Images are given with the distances between images, channels and pixels. Programs write their own sums, so the order in
which they run changes nothing. With TRITON_INTERPRET=1 set before the import the kernels run on the CPU (slowly, for
tests).
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from nha.losses.screen_ops import BLUR_EPS, LANES

_EPS = tl.constexpr(BLUR_EPS)


@triton.jit
def _detail(image, pixel, pixel_step, inside, blurred, channel, pixels, lanes, BLURRED: tl.constexpr):
    """A channel of an image, minus its blurred copy within the mask; `image` points at the channel."""
    value = tl.load(image + pixel * pixel_step, mask=lanes, other=0.0)
    if BLURRED:
        low = tl.load(blurred + channel * pixels + pixel, mask=lanes, other=0.0)
        weight = tl.load(blurred + 6 * pixels + pixel, mask=lanes, other=1.0)
        value -= inside * (low / (weight + _EPS))
    return value


@triton.jit
def _screen_l1(
    image_ptr,  # [N, 3, H, W]
    target_ptr,  # [N, 3, H, W]
    mask_ptr,  # [N, H, W] uint8
    blurred_ptr,  # [N, 7, H, W], read only with BLURRED
    sums_ptr,  # [programs, 2], written: the sum of differences times the scale, and 3 times the number of pixels
    pixels,
    scale,
    image_n,
    image_c,
    image_p,
    target_n,
    target_c,
    target_p,
    BLURRED: tl.constexpr,
    LANES: tl.constexpr,
):
    pixel = tl.program_id(0) * LANES + tl.arange(0, LANES)
    n = tl.program_id(1).to(tl.int64)
    lanes = pixel < pixels
    inside = tl.load(mask_ptr + n * pixels + pixel, mask=lanes, other=0).to(tl.float32)
    image, target, blurred = image_ptr + n * image_n, target_ptr + n * target_n, blurred_ptr + n * 7 * pixels
    total = tl.zeros([LANES], tl.float32)
    for c in tl.static_range(3):
        ours = _detail(image + c * image_c, pixel, image_p, inside, blurred, c, pixels, lanes, BLURRED)
        wanted = _detail(
            target + c * target_c, pixel, target_p, inside, blurred, 3 + c, pixels, lanes, BLURRED
        )
        total += tl.abs(ours - wanted) * inside
    program = n * tl.num_programs(0) + tl.program_id(0)
    tl.store(sums_ptr + 2 * program, scale * tl.sum(total, 0))
    tl.store(sums_ptr + 2 * program + 1, 3.0 * tl.sum(inside, 0))


@triton.jit
def _target_at(target, pixel, target_p, mask, blurred, channel, pixels, lanes, BLURRED: tl.constexpr):
    inside = tl.load(mask + pixel, mask=lanes, other=0).to(tl.float32)
    return _detail(target, pixel, target_p, inside, blurred, channel, pixels, lanes, BLURRED)


@triton.jit
def _screen_l1_backward(
    image_ptr,  # as in `_screen_l1`
    target_ptr,
    mask_ptr,
    blurred_ptr,
    upstream_ptr,  # a number
    count_ptr,  # a number, by which the sum was divided
    of_image_ptr,  # [N, 3, H, W], written
    of_coords_ptr,  # [N, 2, H, W], written
    height,
    width,
    scale,
    image_n,
    image_c,
    image_p,
    target_n,
    target_c,
    target_p,
    gradient_n,
    gradient_c,
    gradient_p,
    BLURRED: tl.constexpr,
    LANES: tl.constexpr,
):
    pixels = height * width
    pixel = tl.program_id(0) * LANES + tl.arange(0, LANES)
    n = tl.program_id(1).to(tl.int64)
    lanes = pixel < pixels
    row, column = pixel // width, pixel % width
    left, right = pixel - (column > 0).to(tl.int32), pixel + (column < width - 1).to(tl.int32)
    upper = pixel - tl.where(row > 0, width, 0)
    lower = pixel + tl.where(row < height - 1, width, 0)
    mask, blurred = mask_ptr + n * pixels, blurred_ptr + n * 7 * pixels
    inside = tl.load(mask + pixel, mask=lanes, other=0).to(tl.float32)
    factor = scale * tl.load(upstream_ptr) / tl.load(count_ptr)
    of_x = tl.zeros([LANES], tl.float32)
    of_y = tl.zeros([LANES], tl.float32)
    for c in tl.static_range(3):
        image, target = image_ptr + n * image_n + c * image_c, target_ptr + n * target_n + c * target_c
        ours = _detail(image, pixel, image_p, inside, blurred, c, pixels, lanes, BLURRED)
        wanted = _detail(target, pixel, target_p, inside, blurred, 3 + c, pixels, lanes, BLURRED)
        sign = tl.where(ours > wanted, 1.0, 0.0) - tl.where(ours < wanted, 1.0, 0.0)
        gradient = sign * inside * factor
        of_image = of_image_ptr + n * gradient_n + c * gradient_c
        tl.store(of_image + pixel * gradient_p, gradient, mask=lanes)
        after = _target_at(target, right, target_p, mask, blurred, 3 + c, pixels, lanes, BLURRED)
        before = _target_at(target, left, target_p, mask, blurred, 3 + c, pixels, lanes, BLURRED)
        of_x += (after - before) * gradient
        below = _target_at(target, lower, target_p, mask, blurred, 3 + c, pixels, lanes, BLURRED)
        above = _target_at(target, upper, target_p, mask, blurred, 3 + c, pixels, lanes, BLURRED)
        of_y += (below - above) * gradient
    # the reciprocal distance of the two neighbours in half images
    step_x = tl.where((column > 0) & (column < width - 1), 0.5, 1.0) * (width * 0.5)
    step_y = tl.where((row > 0) & (row < height - 1), 0.5, 1.0) * (height * 0.5)
    of_coords = of_coords_ptr + n * 2 * pixels + pixel
    tl.store(of_coords, of_x * step_x, mask=lanes)
    tl.store(of_coords + pixels, of_y * step_y, mask=lanes)


def steps(image: Tensor) -> tuple[int, int, int]:
    """Distances between images, channels and pixels."""
    return image.stride(0), image.stride(1), image.stride(3)


def grid(image: Tensor) -> tuple[int, int]:
    """The programs for all pixels of N images."""
    return triton.cdiv(image.shape[2] * image.shape[3], LANES), len(image)


def screen_l1(
    image: Tensor, target: Tensor, mask: Tensor, blurred: Tensor | None, scale: float, sums: Tensor
) -> None:
    """Write each program's sum of differences and three times its number of masked pixels."""
    _screen_l1[grid(image)](
        image,
        target,
        mask.view(torch.uint8),
        image if blurred is None else blurred,
        sums,
        image.shape[2] * image.shape[3],
        scale,
        *steps(image),
        *steps(target),
        BLURRED=blurred is not None,
        LANES=LANES,
        num_warps=4,
        enable_fp_fusion=False,
    )


def screen_l1_backward(
    image: Tensor,
    target: Tensor,
    mask: Tensor,
    blurred: Tensor | None,
    upstream: Tensor,
    count: Tensor,
    scale: float,
    of_image: Tensor,
    of_coords: Tensor,
) -> None:
    """Write the gradients of the image and of the coordinates."""
    _screen_l1_backward[grid(image)](
        image,
        target,
        mask.view(torch.uint8),
        image if blurred is None else blurred,
        upstream,
        count,
        of_image,
        of_coords,
        *image.shape[2:],
        scale,
        *steps(image),
        *steps(target),
        *steps(of_image),
        BLURRED=blurred is not None,
        LANES=LANES,
        num_warps=4,
        enable_fp_fusion=False,
    )
