"""The masked L1 terms of images with screen gradients as kernel launches; the kernels are in `screen_triton.py`.

`fused_screen_l1` is one launch each way, apart from the sum of what its programs have summed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nha.core.images import slope_products
from nha.core.launches import register_launches
from nha.core.processes import mean_over_processes

LANES = 256  # pixels of a program
BLUR_EPS = 1e-7  # added to the blurred mask, by which blurred images are divided


def fused_screen_l1(
    image: Tensor, target: Tensor, mask: Tensor, coords: Tensor, scale: float, blurred: Tensor | None = None
) -> Tensor:
    """scale times the mean of |image - target| over the masked pixels and three channels; differentiable once.

    The gradient flows to `image`, and through the slope of `target` to `coords`.

    Args:
        image, target: [N, 3, H, W] float32.
        mask: bool [N, 1, H, W].
        coords: [N, H, W, 2] in -1..1, x left and y up.
        scale: a factor.
        blurred: [N, 7, H, W], the blurred products of image and mask, of target and mask, and the mask. Their
            quotients, which get no gradient, are subtracted from image and target within the mask.
    """
    return _ScreenL1.apply(image, target, mask, coords, scale, blurred)


class _ScreenL1(torch.autograd.Function):
    @staticmethod
    def forward(ctx, image, target, mask, coords, scale, blurred) -> Tensor:
        image, target, mask = even_pixels(image), even_pixels(target), mask.contiguous()
        n, _, height, width = image.shape
        sums = image.new_empty(n * -(-height * width // LANES), 2)
        torch.ops.nha.screen_l1(image, target, mask, blurred, scale, sums)
        total, count = sums.sum(0).unbind()
        count = mean_over_processes(count).clamp_min(1)
        ctx.save_for_backward(image, target, mask, blurred, count)
        ctx.scale = scale
        return total / count

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        image, target, mask, blurred, count = ctx.saved_tensors
        of_image = torch.empty_like(image)
        of_coords = image.new_empty(len(image), 2, *image.shape[2:])
        torch.ops.nha.screen_l1_backward(
            image, target, mask, blurred, grad, count, ctx.scale, of_image, of_coords
        )
        return of_image, None, None, of_coords.permute(0, 2, 3, 1), None, None


def even_pixels(image: Tensor) -> Tensor:
    """The image [N, C, H, W] in a layout in which successive pixels, also of two rows, have one distance."""
    return image if image.stride(2) == image.shape[3] * image.stride(3) else image.contiguous()


# --- the operations -----------------------------------------------------------------------------------------------


def _details(
    image: Tensor, target: Tensor, mask: Tensor, blurred: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """What is compared, and the mask as numbers."""
    inside = mask.to(image.dtype)
    if blurred is not None:
        low, low_target = (blurred[:, :6] / (blurred[:, 6:] + BLUR_EPS)).split(3, 1)
        image, target = image - inside * low, target - inside * low_target
    return image, target, inside


def _l1_twin(
    image: Tensor, target: Tensor, mask: Tensor, blurred: Tensor | None, scale: float, sums: Tensor
) -> None:
    image, target, inside = _details(image, target, mask, blurred)
    sums.zero_()
    sums[0, 0] = scale * ((image - target).abs() * inside).sum()
    sums[0, 1] = 3 * inside.sum()


def _l1_backward_twin(
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
    image, target, inside = _details(image, target, mask, blurred)
    of_image.copy_((image - target).sign() * inside * (scale * upstream / count))
    # the target has the opposite gradient, and so have coordinates to the left and up
    of_coords[:, 0], of_coords[:, 1] = slope_products(target, of_image)


register_launches(
    "nha.losses.screen_triton",
    {
        "screen_l1(Tensor image, Tensor target, Tensor mask, Tensor? blurred, float scale, Tensor(a!) sums) -> ()": (
            _l1_twin
        ),
        "screen_l1_backward(Tensor image, Tensor target, Tensor mask, Tensor? blurred, Tensor upstream, "
        "Tensor count, float scale, Tensor(a!) of_image, Tensor(b!) of_coords) -> ()": _l1_backward_twin,
    },
)
