"""Image operations: separable Gaussian blur, erosion, and image gradients with respect to position."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor


def gaussian_kernel(sigma: float, *, dtype: torch.dtype = torch.float32) -> Tensor:
    """A normalised Gaussian kernel of 2 * int(6 sigma / 2) + 1 taps: [taps]; the single tap 1 for a small sigma."""
    radius = int(6 * sigma / 2)
    x = torch.arange(-radius, radius + 1, dtype=torch.float64)
    weights = torch.exp(-(x**2) / (2 * sigma**2))
    return (weights / weights.sum()).to(dtype)


def gaussian_blur(image: Tensor, sigma: float, *, clip01: bool = False) -> Tensor:
    """Separable Gaussian blur with reflect padding (`docs/method.md`, section 4), optionally clipped to 0..1.

    image: [N, C, H, W]; sigma in pixels. Where the kernel is wider than the image allows to reflect, the
    reflection goes on back and forth. Returns [N, C, H, W].
    """
    if int(6 * sigma / 2) > 0:
        height, width = image.shape[2:]
        along_x = _blur_matrix(width, sigma, image.dtype, image.device)
        along_y = _blur_matrix(height, sigma, image.dtype, image.device)
        image = along_y @ (image @ along_x.T)
    return image.clamp(0, 1) if clip01 else image


@functools.cache  # not limited: recorded CUDA graphs read these tensors
def _blur_matrix(size: int, sigma: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The blur of a row of pixels, with reflect padding, as a matrix [size, size].

    On a CPU the matrix product is several times as fast as the convolution of a single channel.
    """
    kernel = gaussian_kernel(sigma, dtype=torch.float64)
    radius = len(kernel) // 2
    source = _reflected_indices(size, radius).unfold(0, len(kernel), 1)  # [size, taps]
    matrix = torch.zeros(size, size, dtype=torch.float64)
    matrix.scatter_add_(1, source, kernel.expand(size, -1))
    return matrix.to(device=device, dtype=dtype)


def _reflected_indices(size: int, radius: int) -> Tensor:
    if size == 1:
        return torch.zeros(2 * radius + 1, dtype=torch.long)
    i = torch.arange(-radius, size + radius) % (2 * (size - 1))
    return torch.where(i < size, i, 2 * (size - 1) - i)


def erode(mask: Tensor, radius: int) -> Tensor:
    """Binary erosion by a square of 2 * radius + 1 pixels; pixels outside the image count as set.

    Args:
        mask: [N, C, H, W] bool or 0/1.
        radius: in pixels.

    Returns:
        bool [N, C, H, W].
    """
    return largest_near(1.0 - mask.to(torch.float32), radius) < 0.5


def largest_near(image: Tensor, radius: int) -> Tensor:
    """The largest value in a square of 2 * radius + 1 pixels around each pixel: [N, C, H, W] gives [N, C, H, W]."""
    if radius > 0:
        # max_pool2d pads with -inf, so pixels outside never count; separable for speed
        size = 2 * radius + 1
        image = F.max_pool2d(image, (1, size), 1, (0, radius))
        image = F.max_pool2d(image, (size, 1), 1, (radius, 0))
    return image


def image_derivatives(image: Tensor) -> tuple[Tensor, Tensor]:
    """Derivatives per pixel along x (right) and y (down): central differences, one-sided at the border.

    image: [N, C, H, W], H and W at least 2. Returns two tensors [N, C, H, W].
    """
    d_x, d_y = _neighbour_differences(image)
    height, width = image.shape[2:]
    return (
        d_x * _steps(width, image.dtype, image.device),
        d_y * _steps(height, image.dtype, image.device)[:, None],
    )


def _neighbour_differences(image: Tensor) -> tuple[Tensor, Tensor]:
    """The right neighbour minus the left one, and the lower minus the upper one; at the border the pixel itself."""
    padded = F.pad(image, (1, 1, 1, 1), mode="replicate")
    rows, columns = padded[:, :, 1:-1], padded[..., 1:-1]
    return rows[..., 2:] - rows[..., :-2], columns[:, :, 2:] - columns[:, :, :-2]


@functools.cache
def _steps(size: int, dtype: torch.dtype, device: torch.device, half_images: bool = False) -> Tensor:
    """The reciprocal distance of each pixel's two neighbours, in pixels or half images: 1/2 pixel, 1 at the border."""
    with torch.inference_mode(False):  # kept for later calls, which may be outside of inference mode
        steps = torch.full((size,), 0.5, dtype=dtype)
        steps[0] = steps[-1] = 1
        return (steps * (size / 2) if half_images else steps).to(device)


def slope_products(image: Tensor, upstream: Tensor) -> tuple[Tensor, Tensor]:
    """The image's derivatives times the upstream gradient, summed over channels; the axes are -1..1, right and down.

    image, upstream: [N, C, H, W]. Returns those of x and y, [N, H, W] each.
    """
    d_x, d_y = _neighbour_differences(image)
    steps_x, steps_y = (_steps(size, image.dtype, image.device, True) for size in image.shape[:1:-1])
    return (d_x * upstream).sum(1) * steps_x, (d_y * upstream).sum(1) * steps_y[:, None]


class _ScreenGrad(torch.autograd.Function):
    @staticmethod
    def forward(ctx, image: Tensor, coords: Tensor) -> Tensor:
        ctx.save_for_backward(image)
        return image.view_as(image)

    @staticmethod
    def backward(ctx, upstream: Tensor):
        (image,) = ctx.saved_tensors
        coords_gradient = None
        if ctx.needs_input_grad[1]:
            coords_gradient = torch.stack(slope_products(image, upstream), -1)
        return upstream, coords_gradient


def screen_grad(image: Tensor, coords: Tensor) -> Tensor:
    """Return `image` unchanged, but let its gradient also move `coords`. `docs/method.md`, section 2.

    backward gives `coords` the image's derivative times the upstream gradient, summed over channels, times
    W/2 for x and H/2 for y. image: [N, C, H, W]; coords: [N, H, W, 2] in -1..1, x right and y down.
    """
    if coords.shape != (image.shape[0], *image.shape[2:], 2):
        raise ValueError(f"coords {tuple(coords.shape)} do not fit the image {tuple(image.shape)}")
    return _ScreenGrad.apply(image, coords)
