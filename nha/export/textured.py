"""Drawing a baked mesh as other programs do: nearest face, a texel's colour, no light."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from nha.core.types import Camera
from nha.head.model import HeadModel
from nha.render.camera import project
from nha.render.interpolate import covered_pixels
from nha.render.rasterize import rasterize


def sample_texture(rgb: np.ndarray, uvs: Tensor) -> Tensor:
    """Colours rgb01 [P, 3] of a picture uint8 [R, R, 3] at UVs [P, 2] in 0..1, v up; bilinear between texels."""
    picture = torch.from_numpy(rgb).to(uvs.device).permute(2, 0, 1)[None].to(uvs.dtype) / 255
    grid = torch.stack([2 * uvs[:, 0] - 1, 1 - 2 * uvs[:, 1]], 1)
    sampled = F.grid_sample(picture, grid[None, None], padding_mode="border", align_corners=False)
    return sampled[0, :, 0].T


@torch.no_grad()
def draw_textured(
    head: HeadModel,
    vertices: Tensor,
    textures: tuple[np.ndarray, np.ndarray],
    camera: Camera,
    backend: str = "auto",
) -> Tensor:
    """Pictures of N textured heads, unlit: [N, 4, H, W], rgb01 on white and alpha.

    vertices: [N, V, 3] world; textures: uint8 [R, R, 3] of the head's and the mouth's map.
    """
    fragments = rasterize(project(vertices, camera), head.faces, camera.image_size, layers=1, backend=backend)
    covered = covered_pixels(fragments)
    uvs = covered.from_faces(head.uvs[head.uv_faces][None])
    in_mouth = (head.face_uvmap[covered.face] > 0)[:, None]
    of_head, of_mouth = (sample_texture(texture, uvs) for texture in textures)
    rgb01 = covered.to_image(torch.where(in_mouth, of_mouth, of_head), background=1.0)
    alpha = (fragments.face_index >= 0).to(rgb01.dtype)
    return torch.cat([rgb01, alpha], -1).permute(0, 3, 1, 2)
