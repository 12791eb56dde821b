"""Baking: the texture network evaluated at the texels of the UV maps, which gives the neural texture as images.

A texel's colour depends on its point on the template (given by the UV map), on the mouth's condition (chosen by the
caller) and on the normals around the pixel in which it is seen. The normals exist in a view only, so each texel takes
them from every view in which it is visible. Its colour is the mean of the network's colours over these views, weighted
by the cosine between normal and viewing ray. The light of the video is part of the colours: the avatar has no model of
light.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from torch.nn import functional as F

from nha.avatar.avatar import NeuralHeadAvatar
from nha.avatar.uv_texels import mesh_texels
from nha.core.mesh import vertex_normals
from nha.core.system import get_logger
from nha.core.types import Camera
from nha.export.textures import MAPS, Textures
from nha.export.views import BakingViews
from nha.render.camera import project
from nha.render.interpolate import CoveredPixels

MOUTH_SHRINK = 4  # the mouth's map is smaller by this factor, as its feature map is
_FACING_POWER = 2  # weight of a view: the cosine between normal and ray, to this power
# A texel is visible up to this far behind the rendered surface. The surface's depth is that of the nearest pixel's
# centre, up to 0.7 pixels beside the texel, on a surface that may be steep.
_DEPTH_SLACK_METRES, _DEPTH_SLACK_PIXELS = 0.001, 1.5
_SUFFICIENT_WEIGHT = 0.2  # views of priority below 1 add nothing to texels that have this weight already
_UNSEEN_WEIGHT = 1e-4  # of the colour that a texel has without any view
_CHUNK = 65536  # texels in one evaluation of the network


@dataclass(frozen=True)
class BakedTexture:
    """One baked map.

    Attributes:
        rgb: uint8 [R, R, 3], row 0 at v = 1 (the top), padded beyond the charts.
        covered: bool [R, R], texels that lie on the mesh.
        seen: bool [R, R], texels that are visible in a view.
    """

    rgb: np.ndarray
    covered: np.ndarray
    seen: np.ndarray


def bake_textures(
    avatar: NeuralHeadAvatar, mouth_features: Tensor, views: BakingViews, size: int
) -> Textures:
    """Bake both maps: the head's with `size` texels a side, the mouth's with a quarter. Arguments as of `bake`."""
    sizes = (size, max(1, size // MOUTH_SHRINK))
    baked = [bake(avatar, mouth_features, views, side, uv_map) for uv_map, side in enumerate(sizes)]
    for name, texture in zip(MAPS, baked, strict=True):
        share = texture.seen.sum() / max(texture.covered.sum(), 1)
        get_logger(__name__).debug(
            "texture '%s': %.0f %% of the surface is visible in a view", name, 100 * share
        )
    return baked[0].rgb, baked[1].rgb


@torch.no_grad()
def bake(
    avatar: NeuralHeadAvatar, mouth_features: Tensor, views: BakingViews, size: int, uv_map: int
) -> BakedTexture:
    """Bake one map.

    Args:
        avatar: the avatar.
        mouth_features: [1, M + 3], the condition of all texels (`NeuralHeadAvatar.mouth_features`).
        views: in order of preference; later ones fill in texels that earlier views show poorly.
        size: side of the map in texels.
        uv_map: index into `MAPS`.
    """
    texels = mesh_texels(avatar.head, uv_map, size)
    colour, weight = _initial_mean(avatar, texels, mouth_features)
    seen_weight = torch.zeros_like(weight)
    for i in range(len(views)):
        new_weight, encoding = _view_weights(avatar, texels, views, i)
        if views.priority[i] < 1:
            new_weight = new_weight * (1 - seen_weight / _SUFFICIENT_WEIGHT).clamp(0, 1)
        index = (new_weight > _UNSEEN_WEIGHT * views.priority[i]).nonzero().squeeze(1)
        rgb01 = _paint(avatar, _select(texels, index), encoding[index], mouth_features)
        colour[index] += views.priority[i] * new_weight[index, None] * rgb01
        weight[index] += views.priority[i] * new_weight[index]
        seen_weight[index] += new_weight[index]
    return _baked_texture(texels, colour / weight[:, None], seen_weight > 0)


def _view_weights(
    avatar: NeuralHeadAvatar, texels: CoveredPixels, views: BakingViews, i: int
) -> tuple[Tensor, Tensor]:
    """The weight of each texel in view i, [P] in 0..1, 0 where it is hidden; and the encoded normals there, [P, E]."""
    params, camera = views.params[i : i + 1], views.camera[i : i + 1]
    rendering = avatar.render(params, camera, corrected=True, channels=("normals", "depth"), paint=False)
    vertices, gbuffer, faces = rendering.surface.vertices, rendering.gbuffer, avatar.head.faces
    points = texels.from_vertices(vertices, faces)  # [P, 3] world
    normals = texels.from_vertices(vertex_normals(vertices, faces), faces)
    pixels = project(points[None], camera)  # [1, P, 3]
    facing = _cosine_to_camera(points, F.normalize(normals, dim=1), camera)
    rendered_depth, depth = _at_pixels(gbuffer["depth"], pixels, "nearest")[:, 0], pixels[0, :, 2]
    slack = _DEPTH_SLACK_METRES + _DEPTH_SLACK_PIXELS * depth / camera.intrinsics[0, 0, 0]
    visible = (rendered_depth > 0) & (depth < rendered_depth + slack)
    encoding = _at_pixels(avatar.normal_encoder(gbuffer["normals"]), pixels, "bilinear")
    return facing.clamp_min(0) ** _FACING_POWER * visible, encoding


def _cosine_to_camera(points: Tensor, normals: Tensor, camera: Camera) -> Tensor:
    """Cosine between the normals and the directions to the camera's centre: [P]."""
    rotation, translation = camera.extrinsics[0, :, :3], camera.extrinsics[0, :, 3]
    return (F.normalize(-(rotation @ translation) - points, dim=1) * normals).sum(1)


def _at_pixels(image: Tensor, pixels: Tensor, mode: str) -> Tensor:
    """Values [P, C] of an image [1, C, H, W] at positions [1, P, 2 or more] in pixels; outside it, 0."""
    size = pixels.new_tensor([image.shape[3], image.shape[2]])
    grid = 2 * pixels[:, None, :, :2] / size - 1
    return F.grid_sample(image, grid, mode=mode, padding_mode="zeros", align_corners=False)[0, :, 0].T


def _initial_mean(
    avatar: NeuralHeadAvatar, texels: CoveredPixels, mouth_features: Tensor
) -> tuple[Tensor, Tensor]:
    """Weighted colours and weights before any view: a flat surface that faces the camera, with a tiny weight."""
    # one pixel is enough, because the encoder repeats its border
    one_pixel = mouth_features.new_tensor([0.0, 0.0, 1.0]).view(1, 3, 1, 1)
    encoding = avatar.normal_encoder(one_pixel)[0, :, 0, 0].expand(len(texels.face), -1)
    weight = mouth_features.new_full((len(texels.face),), _UNSEEN_WEIGHT)
    return _paint(avatar, texels, encoding, mouth_features) * _UNSEEN_WEIGHT, weight


def _paint(
    avatar: NeuralHeadAvatar, texels: CoveredPixels, encoding: Tensor, mouth_features: Tensor
) -> Tensor:
    """Colours of the texels in chunks: rgb01 [P, 3]."""
    parts = [encoding.new_zeros(0, 3)]
    for index in torch.arange(len(texels.face), device=encoding.device).split(_CHUNK):
        parts.append(avatar.paint_points(_select(texels, index), encoding[index], mouth_features))
    return torch.cat(parts)


def _select(texels: CoveredPixels, index: Tensor) -> CoveredPixels:
    names = ("pixel", "image", "face", "barycentric")
    return dataclasses.replace(texels, **{name: getattr(texels, name)[index] for name in names})


def _baked_texture(texels: CoveredPixels, rgb01: Tensor, seen: Tensor) -> BakedTexture:
    def image(values: Tensor) -> np.ndarray:
        return texels.to_image(values.float())[0].cpu().numpy()

    covered = image(torch.ones_like(rgb01[:, :1]))[..., 0] > 0
    rgb = np.rint(image(rgb01.clamp(0, 1)) * 255).astype(np.uint8)
    return BakedTexture(pad_charts(rgb, covered), covered, image(seen[:, None])[..., 0] > 0)


def pad_charts(rgb: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """Give every texel beyond the charts the colour of the nearest texel inside, so that no seam is visible.

    Args:
        rgb: uint8 [R, R, 3].
        covered: bool [R, R]; where nothing is covered, the image is returned unchanged.
    """
    if not covered.any():
        return rgb
    nearest = distance_transform_edt(~covered, return_distances=False, return_indices=True)
    return rgb[tuple(nearest)]
