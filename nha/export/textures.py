"""Baked textures of a head: sampling them, and rendering a head that wears them.

A head has two texture maps, `MAPS`. Texel (row i, column j) of a map of R x R texels is at u = (j + 0.5) / R,
v = 1 - (i + 0.5) / R: row 0 is the top of the map, v points up.
"""

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

# By the number in `HeadModel.face_uvmap`; also the names of image files and materials.
MAPS = ("head", "mouth")
Textures = tuple[np.ndarray, np.ndarray]  # uint8 [R, R, 3] for each of MAPS


def sample_texture(texture: np.ndarray, uvs: Tensor) -> Tensor:
    """Colours of a texture at UV coordinates, bilinear between texels.

    Args:
        texture: uint8 [R, R, 3].
        uvs: [P, 2] in 0..1, v up.

    Returns:
        rgb01 [P, 3].
    """
    image = torch.from_numpy(texture).to(uvs.device).permute(2, 0, 1)[None].to(uvs.dtype) / 255
    grid = torch.stack([2 * uvs[:, 0] - 1, 1 - 2 * uvs[:, 1]], 1)
    sampled = F.grid_sample(image, grid[None, None], padding_mode="border", align_corners=False)
    return sampled[0, :, 0].T


def vertex_colours(head: HeadModel, textures: Textures) -> np.ndarray:
    """The textures' colours at the vertices, uint8 [V, 3]; a vertex of both maps has the head map's colour."""
    colours = np.zeros((head.n_vertices, 3), np.uint8)
    for uv_map in (1, 0):  # the head's map last, which overwrites
        in_map = head.face_uvmap == uv_map
        rgb01 = sample_texture(textures[uv_map], head.uvs[head.uv_faces[in_map].reshape(-1)])
        colours[head.faces[in_map].reshape(-1).cpu().numpy()] = np.rint(255 * rgb01.cpu().numpy())
    return colours


@torch.no_grad()
def render_textured(head: HeadModel, vertices: Tensor, textures: Textures, camera: Camera) -> Tensor:
    """Images of N textured heads as other programs render them: the nearest face, the texture's colour, no light.

    Args:
        head: the head model of the mesh.
        vertices: [N, V, 3] metres, world.
        textures: the head's and the mouth's.
        camera: N cameras.

    Returns:
        [N, 4, H, W]: rgb01 on white, and alpha.
    """
    fragments = rasterize(project(vertices, camera), head.faces, camera.image_size, layers=1)
    covered = covered_pixels(fragments)
    uvs = covered.from_faces(head.uvs[head.uv_faces][None])
    in_mouth = (head.face_uvmap[covered.face] > 0)[:, None]
    of_head, of_mouth = (sample_texture(texture, uvs) for texture in textures)
    rgb01 = covered.to_image(torch.where(in_mouth, of_mouth, of_head), background=1.0)
    alpha = (fragments.face_index >= 0).to(rgb01.dtype)
    return torch.cat([rgb01, alpha], -1).permute(0, 3, 1, 2)
