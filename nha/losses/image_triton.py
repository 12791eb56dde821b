"""Triton kernels of `nha/losses/image_ops.py`: each lane computes a pixel.

With TRITON_INTERPRET=1 set before the import the kernels run on the CPU (slowly, for tests).
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from nha.losses.image_ops import PIXELS


@triton.jit
def _difference(rgb_ptr, target_ptr, y, x, width, mask):
    """Rendered minus target of one channel at a pixel; 0 outside of `mask`."""
    place = y * width + x
    return tl.load(rgb_ptr + place, mask=mask, other=0.0) - tl.load(target_ptr + place, mask=mask, other=0.0)


@triton.jit
def _square(rgb_ptr, target_ptr, row, column, width, mask):
    """The mean difference of a square of 2 x 2 pixels; row and column count squares."""
    y, x = 2 * row, 2 * column
    upper = _difference(rgb_ptr, target_ptr, y, x, width, mask)
    upper += _difference(rgb_ptr, target_ptr, y, x + 1, width, mask)
    lower = _difference(rgb_ptr, target_ptr, y + 1, x, width, mask)
    return (upper + lower + _difference(rgb_ptr, target_ptr, y + 1, x + 1, width, mask)) * 0.25


@triton.jit
def _inside(mask_ptr, y, x, height, width):
    """Whether a pixel lies in the image and in the mask."""
    in_image = (y >= 0) & (x >= 0) & (y < height) & (x < width)
    return (tl.load(mask_ptr + y * width + x, mask=in_image, other=0) != 0) & in_image


@triton.jit
def _whole(mask_ptr, row, column, height, width):
    """Whether all four pixels of a square lie in the image and in the mask."""
    y, x = 2 * row, 2 * column
    upper = _inside(mask_ptr, y, x, height, width) & _inside(mask_ptr, y, x + 1, height, width)
    return upper & _inside(mask_ptr, y + 1, x, height, width) & _inside(mask_ptr, y + 1, x + 1, height, width)


@triton.jit
def _sign(value):
    return tl.where(value > 0, 1.0, 0.0) - tl.where(value < 0, 1.0, 0.0)


@triton.jit
def _image_loss(
    rgb_ptr,  # [N, 3, H, W], images `rgb_stride` apart
    target_ptr,  # [N, 3, H, W]
    mask_ptr,  # uint8 [N, 1, H, W]
    sums_ptr,  # [2, blocks], written: the loss's and the weighted number of mask pixels
    rgb_stride,
    height,
    width,
    outside,
    count_factor,
    PAIRS: tl.constexpr,
    LANES: tl.constexpr,
):
    block, image = tl.program_id(0), tl.program_id(1).to(tl.int64)
    pixels = height * width
    pixel = block * LANES + tl.arange(0, LANES)
    y, x = pixel // width, pixel % width
    in_image = pixel < pixels
    mask_ptr += image * pixels
    here = _inside(mask_ptr, y, x, height, width)
    total = tl.zeros([LANES], tl.float32)
    if PAIRS:
        right = here & _inside(mask_ptr, y, x + 1, height, width)
        below = here & _inside(mask_ptr, y + 1, x, height, width)
        first = (y % 2 == 0) & (x % 2 == 0)  # the lane that computes its square
        row, column = y // 2, x // 2
        whole = first & _whole(mask_ptr, row, column, height, width)
        right_whole = whole & _whole(mask_ptr, row, column + 1, height, width)
        below_whole = whole & _whole(mask_ptr, row + 1, column, height, width)
    for channel in tl.static_range(3):
        r, t = rgb_ptr + image * rgb_stride + channel * pixels, target_ptr + (image * 3 + channel) * pixels
        value = _difference(r, t, y, x, width, in_image)
        if PAIRS:
            total += tl.where(right, tl.abs(_difference(r, t, y, x + 1, width, right) - value), 0.0)
            total += tl.where(below, tl.abs(_difference(r, t, y + 1, x, width, below) - value), 0.0)
            square = _square(r, t, row, column, width, whole)
            step = tl.abs(_square(r, t, row, column + 1, width, right_whole) - square)
            total += tl.where(right_whole, 4 * step, 0.0)
            step = tl.abs(_square(r, t, row + 1, column, width, below_whole) - square)
            total += tl.where(below_whole, 4 * step, 0.0)
        else:
            total += tl.abs(value) * tl.where(here, 1.0, outside)
    blocks = tl.num_programs(0) * tl.num_programs(1)
    place = sums_ptr + image * tl.num_programs(0) + block
    tl.store(place, tl.sum(total, 0))
    tl.store(place + blocks, tl.sum(here.to(tl.float32), 0) * count_factor)


@triton.jit
def _image_loss_backward(
    rgb_ptr,  # as in `_image_loss`
    target_ptr,
    mask_ptr,
    factor_ptr,  # [] of all gradients
    of_rgb_ptr,  # [N, 3, H, W], written
    of_coords_ptr,  # [N, 2, H, W], written with COORDS
    rgb_stride,
    height,
    width,
    outside,
    PAIRS: tl.constexpr,
    COORDS: tl.constexpr,
    LANES: tl.constexpr,
):
    block, image = tl.program_id(0), tl.program_id(1).to(tl.int64)
    pixels = height * width
    pixel = block * LANES + tl.arange(0, LANES)
    y, x = pixel // width, pixel % width
    in_image = pixel < pixels
    mask_ptr += image * pixels
    factor = tl.load(factor_ptr)
    here = _inside(mask_ptr, y, x, height, width)
    along_x, along_y = tl.zeros([LANES], tl.float32), tl.zeros([LANES], tl.float32)
    left, right = tl.maximum(x - 1, 0), tl.minimum(x + 1, width - 1)
    above, below = tl.maximum(y - 1, 0), tl.minimum(y + 1, height - 1)
    row, column = y // 2, x // 2
    if PAIRS:
        whole = here & _whole(mask_ptr, row, column, height, width)
    for channel in tl.static_range(3):
        r, t = rgb_ptr + image * rgb_stride + channel * pixels, target_ptr + (image * 3 + channel) * pixels
        value = _difference(r, t, y, x, width, in_image)
        if PAIRS:
            gradient = tl.zeros([LANES], tl.float32)
            square = _square(r, t, row, column, width, whole)
            for k in tl.static_range(4):  # left, right, upper and lower neighbour
                down = (k // 2) * (2 * (k % 2) - 1)
                along = (1 - k // 2) * (2 * (k % 2) - 1)
                both = here & _inside(mask_ptr, y + down, x + along, height, width)
                other = _difference(r, t, y + down, x + along, width, both)
                gradient += tl.where(both, _sign(value - other), 0.0)
                # a square counts four times, and each of its pixels has a quarter of its mean
                both = whole & _whole(mask_ptr, row + down, column + along, height, width)
                other = _square(r, t, row + down, column + along, width, both)
                gradient += tl.where(both, _sign(square - other), 0.0)
        else:
            gradient = _sign(value) * tl.where(here, 1.0, outside)
        gradient *= factor
        tl.store(of_rgb_ptr + (image * 3 + channel) * pixels + pixel, gradient, mask=in_image)
        if COORDS:
            after = tl.load(t + y * width + right, mask=in_image, other=0.0)
            along_x += gradient * (after - tl.load(t + y * width + left, mask=in_image, other=0.0))
            after = tl.load(t + below * width + x, mask=in_image, other=0.0)
            along_y += gradient * (after - tl.load(t + above * width + x, mask=in_image, other=0.0))
    if COORDS:
        # half the image's side, over the distance of the two neighbours
        along_x *= width * tl.where((x == 0) | (x == width - 1), 0.5, 0.25)
        along_y *= height * tl.where((y == 0) | (y == height - 1), 0.5, 0.25)
        place = of_coords_ptr + image * 2 * pixels + pixel
        tl.store(place, along_x, mask=in_image)
        tl.store(place + pixels, along_y, mask=in_image)


def image_loss(
    rgb: Tensor, target: Tensor, mask: Tensor, outside: float, pairs: bool, count_factor: float, sums: Tensor
) -> None:
    """Write the partial sums [2, blocks] of the loss and of the mask times `count_factor`."""
    n, _, height, width = target.shape
    _image_loss[(triton.cdiv(height * width, PIXELS), n)](
        rgb,
        target,
        mask,
        sums,
        rgb.stride(0),
        height,
        width,
        float(outside),
        float(count_factor),
        PAIRS=pairs,
        LANES=PIXELS,
        num_warps=4,
    )


def image_loss_backward(
    rgb: Tensor,
    target: Tensor,
    mask: Tensor,
    factor: Tensor,
    outside: float,
    pairs: bool,
    of_rgb: Tensor,
    of_coords: Tensor,
) -> None:
    """Write the gradients of the image and, if `of_coords` is not empty, of the screen coordinates."""
    n, _, height, width = target.shape
    _image_loss_backward[(triton.cdiv(height * width, PIXELS), n)](
        rgb,
        target,
        mask,
        factor,
        of_rgb,
        of_coords,
        rgb.stride(0),
        height,
        width,
        float(outside),
        PAIRS=pairs,
        COORDS=of_coords.numel() > 0,
        LANES=PIXELS,
        num_warps=4,
    )
