"""The pinhole camera: projection of world points to pixels, and conversion between the screen frames.

World (and camera) frame: +x left, +y up, +z into the scene. Three screen frames occur:

- *pixels*: u to the right, v down, (0, 0) is the top left corner, so the first pixel's centre is (0.5, 0.5);
- *image NDC*: x to the left, y up, both -1..1 over the whole image; the unit of the channel `screen_coords`;
- *raster NDC*: x to the left, y up; the shorter side of the image spans -1..1, so that pixels are square.
  Rasterisers test coverage in this frame, whose areas and rounding decide which face covers a pixel.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from nha.core.constants import constant
from nha.core.device import float32_products
from nha.core.launches import uses_fused_kernels
from nha.core.types import Camera
from nha.render.camera_ops import MIN_DEPTH_METRES, fused_project


@float32_products()
def to_camera(points_world: Tensor, camera: Camera) -> Tensor:
    """Points in the camera frame: x_cam = x_world @ R + T.

    Args:
        points_world: [N, V, 3] metres.
        camera: N cameras.

    Returns:
        [N, V, 3] metres, z is the depth.
    """
    rotation = camera.extrinsics[:, :, :3]  # [N, 3, 3]
    translation = camera.extrinsics[:, :, 3]  # [N, 3]
    return points_world @ rotation + translation[:, None]


def project(points_world: Tensor, camera: Camera) -> Tensor:
    """World points in pixels.

    u = cx - fx x / z and v = (H - cy) - fy y / z: the principal point's cy counts from the *bottom* edge, a
    property of the published tracking files. `docs/method.md`, section 2.

    Args:
        points_world: [N, V, 3] metres.
        camera: N cameras (intrinsics in pixels of `camera.image_size`).

    Returns:
        [N, V, 3]: u (pixels from the left), v (pixels from the top), camera z (metres). Points with z <= 0
        lie behind the camera; their u and v are finite but meaningless.

    Raises:
        ValueError: the points are not [N, V, 3] with the camera's N.
    """
    if points_world.ndim != 3 or points_world.shape[-1] != 3:
        raise ValueError(f"points_world must be [N, V, 3], got {list(points_world.shape)}")
    if len(camera.extrinsics) not in (1, len(points_world)):
        raise ValueError(f"points_world has {len(points_world)} sets, camera holds {len(camera.extrinsics)}")
    height = camera.image_size[0]
    constant_camera = not (camera.intrinsics.requires_grad or camera.extrinsics.requires_grad)
    if constant_camera and points_world.dtype == torch.float32 and uses_fused_kernels(points_world.device):
        return fused_project(points_world, camera.extrinsics, camera.intrinsics, height)
    points_cam = to_camera(points_world, camera)  # [N, V, 3]
    k = camera.intrinsics
    centre = torch.stack((k[:, 0, 2], height - k[:, 1, 2]), dim=-1)[:, None]  # [N, 1, 2]
    focal = k.diagonal(dim1=1, dim2=2)[:, None, :2]  # [N, 1, 2]
    if k.requires_grad:
        return _perspective(points_cam, centre, focal)[0]
    return _Perspective.apply(points_cam, centre, focal)


def _perspective(points_cam: Tensor, centre: Tensor, focal: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Points [N, V, 3] in pixels, the depth by which they were divided, and bool where that is not their own."""
    z = points_cam[..., 2:]
    at_camera = z.abs() < MIN_DEPTH_METRES
    z_safe = z.masked_fill(at_camera, MIN_DEPTH_METRES)
    return torch.cat((centre - focal * points_cam[..., :2] / z_safe, z), dim=-1), z_safe, at_camera


class _Perspective(torch.autograd.Function):
    """`_perspective` of a constant camera, with fewer operations backward than autograd's."""

    @staticmethod
    def forward(ctx, points_cam: Tensor, centre: Tensor, focal: Tensor) -> Tensor:
        screen, z_safe, at_camera = _perspective(points_cam, centre, focal)
        ctx.save_for_backward(points_cam, focal, z_safe, at_camera)
        return screen

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None]:
        points_cam, focal, z_safe, at_camera = ctx.saved_tensors
        of_pixels, of_depth = grad.split([2, 1], -1)
        scaled = of_pixels * focal / z_safe
        through_depth = (scaled * points_cam[..., :2]).sum(-1, keepdim=True) / z_safe
        of_depth = of_depth + through_depth.masked_fill(at_camera, 0.0)
        return torch.cat((-scaled, of_depth), dim=-1), None, None


def pixels_to_ndc(pixels: Tensor, image_size: tuple[int, int]) -> Tensor:
    """Pixels in image NDC: x = 1 - 2u / W (grows left), y = 1 - 2v / H (grows up).

    Args:
        pixels: [..., 2 or more], u and v come first, the rest is ignored.
        image_size: (H, W).

    Returns:
        [..., 2].
    """
    height, width = image_size
    return 1 - 2 * pixels[..., :2] / constant((float(width), float(height)), pixels)


def pixels_to_raster_ndc(pixels: Tensor, image_size: tuple[int, int]) -> Tensor:
    """Pixels [..., 2 or more] in raster NDC [..., 2], where the shorter side spans -1..1."""
    # Divided by a tensor, because on CUDA torch replaces the division by a Python number by a multiplication with its
    # reciprocal. That can differ in the last bit, and a pixel at a face's edge is then covered on one device only.
    height, width = image_size
    shorter = constant((float(min(height, width)),), pixels)
    return (constant((float(width), float(height)), pixels) - 2 * pixels[..., :2]) / shorter


@functools.cache  # not limited: recorded CUDA graphs read these tensors
def pixel_centres_raster_ndc(image_size: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor]:
    """Raster NDC of the pixel centres: x of each column [W] and y of each row [H], float32; do not write to them."""
    height, width = image_size
    with torch.inference_mode(False):  # kept for later calls, which may be outside of inference mode
        return _centres(width, height).to(device), _centres(height, width).to(device)


def _centres(length: int, other_length: int) -> Tensor:
    """The centres of `length` pixels along one axis, from the positive end to the negative.

    Rounded like PyTorch3D, which counts pixels from the negative end, so that pixels on a face's edge are covered as in
    the published results. Computed on the CPU: on CUDA torch replaces a division by a number by a multiplication with
    its reciprocal, which can differ from the quotient in the last bit.
    """
    half_span = torch.tensor(max(length / other_length, 1.0))
    from_negative_end = torch.arange(length, dtype=torch.float32)
    return ((2 * half_span * from_negative_end + half_span) / length - half_span).flip(0)
