"""Antialiasing on CUDA with Triton: the blending of pixels and its gradients.

Each pixel gathers what its four pairs give to it. Only the gradient of the vertices' positions needs atomic additions.
With TRITON_INTERPRET=1 set before the import the kernels run on the CPU (slowly, for tests).
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from nha.render.antialias_silhouettes_triton import LANES, crossing_of_edge, find_silhouettes


@triton.jit
def _pairs_of_pixel(s_ptr, pixel, pixels, height, width):
    """s of the pairs with the left, right, upper and lower neighbour: positive ones give to the second pixel."""
    column = pixel % width
    row = pixel // width % height
    inside = pixel < pixels
    left = tl.load(s_ptr + pixel - 1, mask=inside & (column > 0), other=0.0)
    right = tl.load(s_ptr + pixel, mask=inside, other=0.0)
    upper = tl.load(s_ptr + pixels + pixel - width, mask=inside & (row > 0), other=0.0)
    lower = tl.load(s_ptr + pixels + pixel, mask=inside, other=0.0)
    return left, right, upper, lower


@triton.jit
def _blend(
    values_ptr,  # [N, C, H, W]
    s_ptr,  # [2 axes, N, H, W] float32
    limit_ptr,  # [N, H, W] float32, written: the factor that limits the sum of a pixel's shares to 1
    blended_ptr,  # [N, C, H, W], written
    pixels,
    channels,
    height,
    width,
    LANES: tl.constexpr,
):
    pixel = tl.program_id(0).to(tl.int64) * LANES + tl.arange(0, LANES)
    inside = pixel < pixels
    left, right, upper, lower = _pairs_of_pixel(s_ptr, pixel, pixels, height, width)
    left, right = tl.maximum(left, 0.0), tl.maximum(-right, 0.0)
    upper, lower = tl.maximum(upper, 0.0), tl.maximum(-lower, 0.0)
    limit = tl.div_rn(1.0, tl.maximum(left + right + upper + lower, 1.0))
    tl.store(limit_ptr + pixel, limit, mask=inside)
    area = height * width
    place = pixel // area * channels * area + pixel % area
    for _channel in range(channels):
        value = tl.load(values_ptr + place, mask=inside, other=0.0)
        blended = value
        blended += left * limit * (tl.load(values_ptr + place - 1, mask=left > 0, other=0.0) - value)
        blended += right * limit * (tl.load(values_ptr + place + 1, mask=right > 0, other=0.0) - value)
        blended += upper * limit * (tl.load(values_ptr + place - width, mask=upper > 0, other=0.0) - value)
        blended += lower * limit * (tl.load(values_ptr + place + width, mask=lower > 0, other=0.0) - value)
        tl.store(blended_ptr + place, blended, mask=inside)
        place += area


@triton.jit
def _blend_values_backward(
    upstream_ptr,  # [N, C, H, W]
    s_ptr,  # [2 axes, N, H, W] float32
    limit_ptr,  # [N, H, W] float32
    gradient_ptr,  # [N, C, H, W], written
    pixels,
    channels,
    height,
    width,
    LANES: tl.constexpr,
):
    pixel = tl.program_id(0).to(tl.int64) * LANES + tl.arange(0, LANES)
    inside = pixel < pixels
    left, right, upper, lower = _pairs_of_pixel(s_ptr, pixel, pixels, height, width)
    taken = tl.maximum(left, 0.0) + tl.maximum(-right, 0.0) + tl.maximum(upper, 0.0) + tl.maximum(-lower, 0.0)
    kept = 1.0 - taken * tl.load(limit_ptr + pixel, mask=inside, other=0.0)
    left, right = tl.maximum(-left, 0.0), tl.maximum(right, 0.0)  # what the neighbours take of this pixel
    upper, lower = tl.maximum(-upper, 0.0), tl.maximum(lower, 0.0)
    left *= tl.load(limit_ptr + pixel - 1, mask=left > 0, other=0.0)
    right *= tl.load(limit_ptr + pixel + 1, mask=right > 0, other=0.0)
    upper *= tl.load(limit_ptr + pixel - width, mask=upper > 0, other=0.0)
    lower *= tl.load(limit_ptr + pixel + width, mask=lower > 0, other=0.0)
    area = height * width
    place = pixel // area * channels * area + pixel % area
    for _channel in range(channels):
        gradient = kept * tl.load(upstream_ptr + place, mask=inside, other=0.0)
        gradient += left * tl.load(upstream_ptr + place - 1, mask=left > 0, other=0.0)
        gradient += right * tl.load(upstream_ptr + place + 1, mask=right > 0, other=0.0)
        gradient += upper * tl.load(upstream_ptr + place - width, mask=upper > 0, other=0.0)
        gradient += lower * tl.load(upstream_ptr + place + width, mask=lower > 0, other=0.0)
        tl.store(gradient_ptr + place, gradient, mask=inside)
        place += area


@triton.jit
def _blend_screen_backward(
    values_ptr,  # [N, C, H, W]
    upstream_ptr,  # [N, C, H, W]
    screen_ptr,  # [N, V, 3] float32
    s_ptr,  # [2 axes, N, H, W] float32
    limit_ptr,  # [N, H, W] float32
    edge_ptr,  # [2 axes, N, H, W, 2] int32
    gradient_ptr,  # [N, V, 3] float32, added to
    pixels,
    channels,
    height,
    width,
    vertices,
    LANES: tl.constexpr,
):
    pixel = tl.program_id(0).to(tl.int64) * LANES + tl.arange(0, LANES)
    axis = tl.program_id(1)
    s = tl.load(s_ptr + axis * pixels + pixel, mask=pixel < pixels, other=0.0)
    found = s != 0
    step = tl.where(axis == 0, 1, width)
    limit = tl.load(limit_ptr + tl.where(s > 0, pixel + step, pixel), mask=found, other=0.0)
    area = height * width
    first = pixel // area * channels * area + pixel % area
    gradient = tl.zeros(pixel.shape, tl.float32)  # with respect to the crossing's position
    for _channel in range(channels):
        # s > 0: the second pixel takes (first - second); s < 0: the first takes (second - first), of -s
        difference = tl.load(values_ptr + first, mask=found, other=0.0)
        difference -= tl.load(values_ptr + first + step, mask=found, other=0.0)
        upstream = tl.load(upstream_ptr + tl.where(s > 0, first + step, first), mask=found, other=0.0)
        gradient += (upstream * difference).to(tl.float32)
        first += area
    gradient *= limit

    n = pixel // area
    edge = edge_ptr + (axis * pixels + pixel) * 2
    low = tl.load(edge, mask=found, other=0).to(tl.int64)
    high = tl.load(edge + 1, mask=found, other=0).to(tl.int64)
    u, v = (pixel % width).to(tl.float32) + 0.5, (pixel // width % height).to(tl.float32) + 0.5
    along, across = tl.where(axis == 0, u, v), tl.where(axis == 0, v, u)
    _, share, slope = crossing_of_edge(screen_ptr + n * vertices * 3, low, high, axis, along, across, found)
    low, high = gradient_ptr + (n * vertices + low) * 3, gradient_ptr + (n * vertices + high) * 3
    tl.atomic_add(low + axis, (1 - share) * gradient, mask=found, sem="relaxed")
    tl.atomic_add(high + axis, share * gradient, mask=found, sem="relaxed")
    tl.atomic_add(low + 1 - axis, (share - 1) * slope * gradient, mask=found, sem="relaxed")
    tl.atomic_add(high + 1 - axis, -share * slope * gradient, mask=found, sem="relaxed")


class _Blend(torch.autograd.Function):
    """`_Blend.apply(values [N, C, H, W], screen [N, V, 3], s, edge)`; differentiable once in both tensors."""

    @staticmethod
    def forward(ctx, values: Tensor, screen: Tensor, s: Tensor, edge: Tensor):
        values = values.detach().contiguous()
        _, channels, height, width = values.shape
        blended, limit = torch.empty_like(values), torch.empty_like(s[0])
        grid = (triton.cdiv(limit.numel(), LANES),)
        _blend[grid](values, s, limit, blended, limit.numel(), channels, height, width, LANES=LANES)
        ctx.save_for_backward(values, screen, s, edge, limit)
        return blended

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, upstream: Tensor):
        values, screen, s, edge, limit = ctx.saved_tensors
        upstream, pixels = upstream.contiguous(), limit.numel()
        shape = values.shape[1:]
        programs = triton.cdiv(pixels, LANES)
        values_gradient = screen_gradient = None
        if ctx.needs_input_grad[0]:
            values_gradient = torch.empty_like(values)
            _blend_values_backward[(programs,)](
                upstream, s, limit, values_gradient, pixels, *shape, LANES=LANES
            )
        if ctx.needs_input_grad[1]:
            position = screen.detach().float().contiguous()
            gradient = torch.zeros_like(position)
            _blend_screen_backward[(programs, 2)](
                values,
                upstream,
                position,
                s,
                limit,
                edge,
                gradient,
                pixels,
                *shape,
                position.shape[1],
                LANES=LANES,
            )
            screen_gradient = gradient.to(screen.dtype)
        return values_gradient, screen_gradient, None, None


def antialias_triton(
    values: Tensor, face_index: Tensor, depth: Tensor, screen: Tensor, faces: Tensor, neighbours: Tensor
) -> Tensor:
    """Blend pixels at silhouettes on a GPU; arguments and result as `antialias_reference`'s."""
    mesh = (face_index, depth, screen.detach().float(), faces, neighbours)
    return _Blend.apply(values, screen, *find_silhouettes(*(tensor.contiguous() for tensor in mesh)))
