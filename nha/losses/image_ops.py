"""The L1 terms of rendered and target images as one kernel launch each way; the kernels are in `image_triton.py`.

Two kinds: of the colours with a weight for each pixel (`composite_loss`, `feature_loss`), and of the differences of
neighbouring pixels and of neighbouring squares of 2 x 2 pixels (`gradient_loss`).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from nha.core.images import image_derivatives
from nha.core.launches import register_launches, uses_fused_kernels
from nha.core.processes import mean_over_processes

PIXELS = 256  # of a block: each block writes one partial sum


def can_fuse(rgb01: Tensor, target_rgb01: Tensor) -> bool:
    """Whether the kernels compute the terms of these images."""
    float32 = rgb01.dtype == target_rgb01.dtype == torch.float32
    return float32 and not target_rgb01.requires_grad and uses_fused_kernels(rgb01.device)


def fused_colour_loss(
    rgb01: Tensor, target_rgb01: Tensor, mask: Tensor, screen_coords: Tensor, scale: float, outside: float
) -> Tensor:
    """`scale` times the sum of |rgb01 - target| over all pixels, divided by three times the number of mask pixels.

    Args:
        rgb01, target_rgb01: [N, 3, H, W] float32.
        mask: bool [N, 1, H, W].
        screen_coords: [N, H, W, 2] in -1..1, x left and y up; the gradient through the target moves them.
        scale: factor of the loss.
        outside: weight of a pixel outside of the mask; that of one inside is 1.
    """
    return _ImageLoss.apply(rgb01, target_rgb01, mask, screen_coords, scale, outside, False)


def fused_gradient_loss(
    rgb01: Tensor, target_rgb01: Tensor, mask: Tensor, screen_coords: Tensor, scale: float
) -> Tensor:
    """`scale` times the sum over pairs of neighbours, divided by three times the number of mask pixels.

    Pairs of pixels count once and pairs of 2 x 2 squares four times, both only where they lie inside of the mask.
    Arguments as in `fused_colour_loss`.
    """
    return _ImageLoss.apply(rgb01, target_rgb01, mask, screen_coords, scale, 0.0, True)


class _ImageLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx, rgb, target, mask, coords, scale, outside, pairs):
        height, width = rgb.shape[2:]
        if rgb.stride()[1:] != (height * width, width, 1):
            rgb = rgb.contiguous()
        target, mask = target.contiguous(), mask.contiguous().view(torch.uint8)
        blocks = len(rgb) * (-(-height * width // PIXELS))
        sums = rgb.new_empty(2, blocks)
        torch.ops.nha.image_loss(rgb, target, mask, outside, pairs, 3 / scale, sums)
        total, count = sums.sum(1).unbind()
        divisor = mean_over_processes(count).clamp_min(1 / scale)
        ctx.save_for_backward(rgb, target, mask, divisor)
        ctx.outside, ctx.pairs = outside, pairs
        return total / divisor

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, upstream):
        rgb, target, mask, divisor = ctx.saved_tensors
        n, _, height, width = target.shape
        of_rgb = torch.empty_like(target)
        # planes, as the channels of a G-buffer are
        of_coords = target.new_empty(n, 2, height, width) if ctx.needs_input_grad[3] else target.new_empty(0)
        torch.ops.nha.image_loss_backward(
            rgb, target, mask, upstream / divisor, ctx.outside, ctx.pairs, of_rgb, of_coords
        )
        coords_gradient = of_coords.permute(0, 2, 3, 1) if ctx.needs_input_grad[3] else None
        return of_rgb, None, None, coords_gradient, None, None, None


def _whole_squares(mask: Tensor) -> Tensor:
    return (F.avg_pool2d(mask, 2) == 1).to(mask)


def _image_loss_twin(
    rgb: Tensor, target: Tensor, mask: Tensor, outside: float, pairs: bool, count_factor: float, sums: Tensor
) -> None:
    difference, inside = rgb - target, mask.to(rgb)
    if pairs:
        total = _pairs(difference, inside)
        if min(inside.shape[2:]) > 1:
            total = total + 4 * _pairs(F.avg_pool2d(difference, 2), _whole_squares(inside))
    else:
        total = (difference.abs() * (inside + outside * (1 - inside))).sum()
    sums.zero_()
    sums[0, 0], sums[1, 0] = total, inside.sum() * count_factor


def _pairs(values: Tensor, inside: Tensor) -> Tensor:
    """The sum of the absolute differences of neighbours that both lie inside."""
    total = values.new_zeros(())
    for axis in (2, 3):
        n = inside.shape[axis] - 1
        both = inside.narrow(axis, 1, n) * inside.narrow(axis, 0, n)
        total = total + (values.diff(dim=axis).abs() * both).sum()
    return total


def _pair_signs(values: Tensor, inside: Tensor) -> Tensor:
    """The gradient of `_pairs` in the values."""
    gradient = torch.zeros_like(values)
    for axis in (2, 3):
        n = inside.shape[axis] - 1
        signs = values.diff(dim=axis).sign() * inside.narrow(axis, 1, n) * inside.narrow(axis, 0, n)
        gradient.narrow(axis, 1, n).add_(signs)
        gradient.narrow(axis, 0, n).sub_(signs)
    return gradient


def _image_loss_backward_twin(
    rgb: Tensor,
    target: Tensor,
    mask: Tensor,
    factor: Tensor,
    outside: float,
    pairs: bool,
    of_rgb: Tensor,
    of_coords: Tensor,
) -> None:
    difference, inside = rgb - target, mask.to(rgb)
    height, width = mask.shape[2:]
    if pairs:
        of_rgb.copy_(_pair_signs(difference, inside))
        if min(height, width) > 1:
            squares = _pair_signs(F.avg_pool2d(difference, 2), _whole_squares(inside))
            squares = squares.repeat_interleave(2, 2).repeat_interleave(2, 3)
            of_rgb[:, :, : height // 2 * 2, : width // 2 * 2] += squares
    else:
        of_rgb.copy_(difference.sign() * (inside + outside * (1 - inside)))
    of_rgb.mul_(factor)
    if of_coords.numel():
        d_x, d_y = image_derivatives(target)
        of_coords[:, 0] = (d_x * of_rgb).sum(1) * (width / 2)
        of_coords[:, 1] = (d_y * of_rgb).sum(1) * (height / 2)


register_launches(
    "nha.losses.image_triton",
    {
        "image_loss(Tensor rgb, Tensor target, Tensor mask, float outside, bool pairs, float count_factor, "
        "Tensor(a!) sums) -> ()": _image_loss_twin,
        "image_loss_backward(Tensor rgb, Tensor target, Tensor mask, Tensor factor, float outside, bool pairs, "
        "Tensor(a!) of_rgb, Tensor(b!) of_coords) -> ()": _image_loss_backward_twin,
    },
)
