"""Shading: the spherical-harmonics basis of the tracker, and Phong images for inspection."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nha.core.constants import constant
from nha.core.mesh import vertex_normals
from nha.core.types import Camera
from nha.render.camera import project
from nha.render.gbuffer import NORMAL_EPS
from nha.render.interpolate import covered_pixels
from nha.render.rasterize import rasterize

# Norms of the real spherical harmonics times the weight of the cosine lobe in each band, with the values of the
# published tracker (`docs/method.md`, section 7).
_BAND_0 = 1 / math.sqrt(4 * math.pi)
_BAND_1 = (2 * math.pi / 3) * math.sqrt(3 / (4 * math.pi))
_BAND_2 = (math.pi / 4) * 3 * math.sqrt(5 / (12 * math.pi))
SH_FACTORS = (
    _BAND_0,
    _BAND_1,
    _BAND_1,
    _BAND_1,
    _BAND_2,
    _BAND_2,
    _BAND_2,
    (math.pi / 4) * (3 / 2) * math.sqrt(5 / (12 * math.pi)),
    (math.pi / 4) * (1 / 2) * math.sqrt(5 / (4 * math.pi)),
)

SURFACE_RGB01 = (188 / 255, 204 / 255, 245 / 255)
AMBIENT, DIFFUSE, SPECULAR, SHININESS = 0.4, 0.6, 0.3, 64
LIGHT_DIRECTION_WORLD = (0.0, math.sqrt(0.5), -math.sqrt(0.5))  # from the surface to the light


def spherical_harmonics_basis(normals: Tensor) -> Tensor:
    """The nine shading basis functions at normals.

    1, x, y, z, xy, xz, yz, x^2 - y^2, 3 z^2 - 1, each times its factor in `SH_FACTORS`. `docs/method.md`, section 7.

    Args:
        normals: [..., 3] in the world frame; they are not normalised here.

    Returns:
        [..., 9].
    """
    x, y, z = normals.unbind(-1)
    basis = (torch.ones_like(x), x, y, z, x * y, x * z, y * z, x**2 - y**2, 3 * z**2 - 1)
    return torch.stack(basis, dim=-1) * constant(SH_FACTORS, normals)


def phong_image(vertices: Tensor, faces: Tensor, camera: Camera) -> Tensor:
    """Images of the mesh as a smooth grey-blue surface under one light, for inspecting the geometry.

    Back faces are culled. Not meant to be differentiated. `docs/method.md`, section 2.

    Args:
        vertices: [N, V, 3] world, metres.
        faces: [F, 3] long.
        camera: N cameras.

    Returns:
        [N, 4, H, W]: rgb 0..1 on white, and alpha (1 where the mesh is visible).
    """
    screen = project(vertices, camera)
    fragments = rasterize(screen, faces, camera.image_size, layers=1, cull_back_faces=True)
    covered = covered_pixels(fragments)
    normals = covered.from_vertices(vertex_normals(vertices, faces, eps=NORMAL_EPS), faces)  # [P, 3]
    normals = torch.nn.functional.normalize(normals, dim=-1, eps=NORMAL_EPS)
    points = covered.from_vertices(vertices, faces)  # [P, 3]
    rotation, translation = camera.extrinsics[:, :, :3], camera.extrinsics[:, :, 3:]
    camera_centre = -(rotation @ translation)[..., 0]  # [N, 3]; rotation is orthonormal
    towards_camera = torch.nn.functional.normalize(camera_centre[covered.image] - points, dim=-1)
    light = constant(LIGHT_DIRECTION_WORLD, normals)

    cosine = normals @ light  # [P]
    reflected = 2 * cosine[:, None] * normals - light
    highlight = (reflected * towards_camera).sum(-1).clamp_min(0) ** SHININESS * (cosine > 0)
    surface = constant(SURFACE_RGB01, normals)
    rgb = surface * (AMBIENT + DIFFUSE * cosine.clamp_min(0))[:, None] + SPECULAR * highlight[:, None]
    rgb = covered.to_image(rgb.clamp(0, 1), background=1.0)  # [N, H, W, 3]
    alpha = (fragments.face_index >= 0).to(rgb.dtype)  # [N, H, W, 1]
    return torch.cat((rgb, alpha), dim=-1).permute(0, 3, 1, 2).contiguous()
