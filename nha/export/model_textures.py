"""The textures of a posed avatar as two images, for either model.

The published model is baked from views (`bake`). The blend model needs none: its texture is its own mean and basis
images with the weights of the pose, times the light at the pose's normals.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from nha.avatar.base import HeadAvatar
from nha.avatar.blend_avatar import BlendAvatar
from nha.avatar.uv_texels import mesh_texels
from nha.core.mesh import vertex_normals
from nha.core.types import Camera, Surface
from nha.export.bake import MOUTH_SHRINK, bake_textures, pad_charts
from nha.export.textures import Textures
from nha.export.views import BakingViews

_FACING_CAMERA = (0.0, torch.pi, 0.0)  # rotation of a head that looks at a camera with the world's axes


def model_textures(
    avatar: HeadAvatar,
    surface: Surface,
    camera: Camera | None,
    views: BakingViews,
    size: int,
    light: bool = True,
) -> Textures:
    """The head's map with `size` texels a side and the mouth's with a quarter.

    Args:
        avatar: the avatar.
        surface: [1], the pose whose mouth, and of the blend model whose colours and light, the textures show.
        camera: [1], the camera of the pose; None lets the head look at the camera.
        views: from which the published model is baked.
        size: side of the head's map in texels.
        light: False leaves out the blend model's light; the published model's cannot be separated.
    """
    if isinstance(avatar, BlendAvatar):
        return blend_textures(avatar, surface, camera, size, light)
    return bake_textures(avatar, avatar.mouth_features(surface), views, size)


@torch.no_grad()
def blend_textures(
    avatar: BlendAvatar, surface: Surface, camera: Camera | None, size: int, light: bool = True
) -> Textures:
    """Both maps of the blend model in one pose; arguments as of `model_textures`."""
    params, vertices = surface.params, surface.vertices
    if camera is None:
        facing = params.rotation.new_tensor([_FACING_CAMERA])
        params = params.replace(rotation=facing)
        vertices = avatar.posed_with(params, surface.offsets)
    normals = -vertex_normals(vertices, avatar.head.faces)  # the light's axes: see `draw_gbuffer`
    if camera is not None:
        normals = normals @ camera.extrinsics[:, :, :3]
    weights = avatar.basis_weights(avatar.scaled_drive(params, camera))
    textures = (avatar.head_texture, avatar.mouth_texture)
    maps = []
    for uv_map, (texture, own) in enumerate(zip(textures, weights, strict=True)):
        side = size if uv_map == 0 else max(1, size // MOUTH_SHRINK)
        rgb01 = texture(_texel_centres(side, normals), own)
        if light:
            rgb01 = rgb01 * _light(avatar, normals, uv_map, side)
        maps.append(np.rint(255 * rgb01[0].clamp(0, 1).permute(1, 2, 0).cpu().numpy()).astype(np.uint8))
    head_map, mouth_map = maps
    return head_map, mouth_map


def _texel_centres(side: int, like: Tensor) -> Tensor:
    """Texture coordinates [1, side, side, 2] in -1..1 of the texels' centres."""
    centres = (2 * torch.arange(side, device=like.device, dtype=like.dtype) + 1) / side - 1
    return torch.stack(torch.meshgrid(centres, centres, indexing="xy"), -1)[None]


def _light(avatar: BlendAvatar, normals: Tensor, uv_map: int, side: int) -> Tensor:
    """The light [1, 3, side, side] at the texels; beyond the charts that of the nearest texel of one.

    Args:
        avatar: the avatar.
        normals: [1, V, 3] of the vertices in the light's axes.
        uv_map: index into `MAPS`.
        side: of the map in texels.
    """
    texels = mesh_texels(avatar.head, uv_map, side)
    at_texels = texels.from_vertices(normals, avatar.head.faces)  # [P, 3]
    image = texels.to_image(avatar.shading(at_texels.T[None, :, :, None])[0, :, :, 0].T)[0]
    covered = texels.to_image(torch.ones_like(at_texels[:, :1]))[0, ..., 0] > 0
    padded = pad_charts(image.cpu().numpy(), covered.cpu().numpy())
    return torch.from_numpy(padded).to(normals).permute(2, 0, 1)[None]
