"""Colours of blended textures at covered pixels in one pass over the image, on the CPU with numba.

Interpolation of texture coordinates and normals, bilinear samples of a shared and of an own image, light, exposure and
the white background; forward and backward. `BlendAvatar.paint` in `nha/avatar/blend_avatar.py` is the same in plain
torch, for accelerators and as the reference in tests. `docs/method.md`, section 3.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from nha.core.constants import constant
from nha.core.types import Fragments, SurfaceTables
from nha.render.blend_paint_numba import camera_normals, paint, paint_backward
from nha.render.shading import SH_FACTORS


def paint_blend(
    fragments: Fragments,
    vertices: Tensor,
    camera_from_world: Tensor,
    tables: SurfaceTables,
    head: tuple[Tensor, Tensor],
    mouth: tuple[Tensor, Tensor],
    light: Tensor,
    gain: Tensor,
    clamp01: bool,
) -> Tensor:
    """Colours on white, and coverage.

    Differentiable in the textures, light and gain; not in the geometry.

    Args:
        fragments: N rasterised heads, one layer.
        vertices: [N, V, 3] world.
        camera_from_world: [N, 3, 3] rotations for row vectors.
        tables: the mesh.
        head, mouth: for each of the two UV maps the images [1, 3, R, R] for all heads and [N, 3, r, r] for each,
            which are summed.
        light: [8, 3] coefficients of the spherical harmonics of order 1 and 2 of the normal (x right, y down, z to the
            camera).
        gain: [N, 3] exposure.
        clamp01: limit the colours to 0..1, without gradient.

    Returns:
        [N, 4, H, W]: alpha, 0 or 1, and rgb01.
    """
    faces = tables.faces.numpy()
    normals = np.zeros(tuple(vertices.shape), np.float32)
    camera_normals(
        vertices.detach().contiguous().numpy(),
        faces,
        -camera_from_world.detach().expand(len(vertices), 3, 3).contiguous().numpy(),
        normals,
    )
    surface = (
        fragments.face_index[..., 0].contiguous().numpy(),
        fragments.barycentric[..., 0, :].detach().contiguous().numpy(),
        faces,
        tables.face_uvcoords.contiguous().numpy(),
        tables.face_uvmap.numpy(),
        normals,
    )
    scaled = light * constant(SH_FACTORS[1:], light)[:, None]
    return _Paint.apply(head[0][0], head[1], mouth[0][0], mouth[1], scaled, gain, surface, clamp01)


class _Paint(torch.autograd.Function):
    @staticmethod
    def forward(ctx, head_mean, head_own, mouth_mean, mouth_own, light, gain, surface, clamp01):
        inputs = [t.detach().contiguous() for t in (head_mean, head_own, mouth_mean, mouth_own, light, gain)]
        image = head_mean.new_empty(len(gain), 4, *surface[0].shape[1:])
        paint(*surface, *(t.numpy() for t in inputs), clamp01, image.numpy())
        ctx.save_for_backward(*inputs)
        ctx.surface, ctx.clamp01 = surface, clamp01
        return image

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, upstream):
        inputs = ctx.saved_tensors
        n = len(upstream)
        # one set for each image, so that images are independent and sums have a fixed order
        maps = [torch.zeros(n, *t.shape[-3:]) for t in inputs[:4]]
        numbers = [torch.zeros(n, *t.shape, dtype=torch.float64) for t in inputs[4:]]
        paint_backward(
            *ctx.surface,
            *(t.numpy() for t in inputs),
            upstream.contiguous().numpy(),
            ctx.clamp01,
            any(ctx.needs_input_grad[:4]),
            *(gradient.numpy() for gradient in (*maps, *numbers)),
        )
        head_mean, head_own, mouth_mean, mouth_own = maps
        light, gain = (gradient.sum(0).float() for gradient in numbers)
        return head_mean.sum(0), head_own, mouth_mean.sum(0), mouth_own, light, gain, None, None
