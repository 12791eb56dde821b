"""The neural texture as ordinary pictures: the texture network evaluated at the texels of the UV maps.

A texel's colour depends on the point of the template (which the map gives), on the mouth's condition (which is
chosen) and on the normals around the pixel in which it is seen. The last exist only in a view, so each texel takes
them from every view in which it is visible, and its colour is the mean of what the network then says, weighted by
how squarely it is seen. Light is part of these colours: the avatar has never seen the person without.
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
from nha.core.mesh import vertex_normals
from nha.core.types import Camera
from nha.export.views import BakingViews
from nha.head.model import HeadModel
from nha.render.camera import project
from nha.render.interpolate import CoveredPixels, covered_pixels
from nha.render.rasterize import rasterize

MAPS = ("head", "mouth")  # `face_uvmap` 0 and 1; also the names of pictures and materials

_MOUTH_SHRINK = 4  # the mouth's map is smaller by this factor, like its feature map
_FACING_POWER = 2  # weight of a view: the cosine between normal and ray, to this power
# A texel counts as seen this far behind the drawn surface, whose depth is that of the nearest pixel's centre: up to
# 0.7 pixels beside the texel, on a surface that may be steep.
_DEPTH_SLACK_METRES, _DEPTH_SLACK_PIXELS = 0.001, 1.5
_ENOUGH = 0.2  # texels that the views before have seen with this weight leave later views aside
_UNSEEN_WEIGHT = 1e-4  # of the colour that a texel has without any view
_CHUNK = 65536  # texels that the network paints at a time


@dataclass(frozen=True)
class BakedTexture:
    """rgb: uint8 [R, R, 3], row 0 is v = 1 (the top), padded everywhere beyond the charts;
    covered: bool [R, R], texels that lie on the mesh; seen: bool [R, R], those that a view has shown."""

    rgb: np.ndarray
    covered: np.ndarray
    seen: np.ndarray


@torch.no_grad()
def texels_of(head: HeadModel, uv_map: int, size: int, backend: str = "auto") -> CoveredPixels:
    """The texels of a map that lie on the mesh, as points on its faces.

    uv_map: 0 head, 1 mouth; size: side in texels. Texel (row i, column j) is at u = (j + 0.5) / size,
    v = 1 - (i + 0.5) / size.
    """
    ids = (head.face_uvmap == uv_map).nonzero().squeeze(1)
    u, v = head.uvs.unbind(1)
    screen = torch.stack([u * size, (1 - v) * size, torch.ones_like(u)], 1)[None]
    fragments = rasterize(screen, head.uv_faces[ids], (size, size), layers=1, backend=backend)
    covered = covered_pixels(fragments)
    return dataclasses.replace(covered, face=ids[covered.face])


def bake_textures(
    avatar: NeuralHeadAvatar, mouth_features: Tensor, views: BakingViews, size: int, backend: str = "auto"
) -> tuple[np.ndarray, np.ndarray]:
    """Both maps as uint8 [R, R, 3]: the head's with R = size, the mouth's with a quarter; arguments as of `bake`."""
    head, mouth = (
        bake(avatar, mouth_features, views, side, uv_map, backend).rgb
        for uv_map, side in enumerate((size, max(1, size // _MOUTH_SHRINK)))
    )
    return head, mouth


@torch.no_grad()
def bake(
    avatar: NeuralHeadAvatar,
    mouth_features: Tensor,
    views: BakingViews,
    size: int,
    uv_map: int,
    backend: str = "auto",
) -> BakedTexture:
    """Bake one of the two maps.

    mouth_features: [1, M + 3], the condition for all texels (`NeuralHeadAvatar.mouth_features`); views: in order
    of preference, later ones fill what earlier ones have not seen well; size: side in texels.
    """
    texels = texels_of(avatar.head, uv_map, size, backend)
    colour, weight = _paint_unseen(avatar, texels, mouth_features)
    seen_weight = torch.zeros_like(weight)
    for i in range(len(views)):
        new_weight, encoding = _look(avatar, texels, views, i, backend)
        if views.share[i] < 1:
            new_weight = new_weight * (1 - seen_weight / _ENOUGH).clamp(0, 1)
        index = (new_weight > _UNSEEN_WEIGHT * views.share[i]).nonzero().squeeze(1)
        rgb01 = _paint(avatar, _some(texels, index), encoding[index], mouth_features)
        colour[index] += views.share[i] * new_weight[index, None] * rgb01
        weight[index] += views.share[i] * new_weight[index]
        seen_weight[index] += new_weight[index]
    return _as_picture(texels, colour / weight[:, None], seen_weight > 0, size)


def _look(
    avatar: NeuralHeadAvatar, texels: CoveredPixels, views: BakingViews, i: int, backend: str
) -> tuple[Tensor, Tensor]:
    """How squarely view i sees each texel, [P] in 0..1, 0 for hidden ones; and the encoded normals there [P, E]."""
    params, camera = views.params[i : i + 1], views.camera[i : i + 1]
    surface = avatar.surface(params)
    gbuffer = avatar.rasterize(surface, camera, ("normals", "depth"), backend)
    faces = avatar.head.faces
    points = texels.from_vertices(surface.vertices, faces)  # [P, 3] world
    normals = texels.from_vertices(vertex_normals(surface.vertices, faces), faces)
    pixels = project(points[None], camera)  # [1, P, 3]
    facing = _cosine_to_camera(points, F.normalize(normals, dim=1), camera)
    drawn_depth, depth = _at_pixels(gbuffer["depth"], pixels, "nearest")[:, 0], pixels[0, :, 2]
    slack = _DEPTH_SLACK_METRES + _DEPTH_SLACK_PIXELS * depth / camera.intrinsics[0, 0, 0]
    visible = (drawn_depth > 0) & (depth < drawn_depth + slack)
    encoding = _at_pixels(avatar.normal_encoder(gbuffer["normals"]), pixels, "bilinear")
    return facing.clamp_min(0) ** _FACING_POWER * visible, encoding


def _cosine_to_camera(points: Tensor, normals: Tensor, camera: Camera) -> Tensor:
    rotation, translation = camera.extrinsics[0, :, :3], camera.extrinsics[0, :, 3]
    return (F.normalize(-(rotation @ translation) - points, dim=1) * normals).sum(1)


def _at_pixels(image: Tensor, pixels: Tensor, mode: str) -> Tensor:
    """Values [P, C] of an image [1, C, H, W] at positions [1, P, 2 or more] in pixels; outside it, 0."""
    size = pixels.new_tensor([image.shape[3], image.shape[2]])
    grid = 2 * pixels[:, None, :, :2] / size - 1
    return F.grid_sample(image, grid, mode=mode, padding_mode="zeros", align_corners=False)[0, :, 0].T


def _paint_unseen(
    avatar: NeuralHeadAvatar, texels: CoveredPixels, mouth_features: Tensor
) -> tuple[Tensor, Tensor]:
    """The start of the mean: the colour of a flat surface that faces the camera, with next to no weight."""
    flat = mouth_features.new_tensor([0.0, 0.0, 1.0])[
        None, :, None, None
    ]  # one pixel; its border is repeated
    encoding = avatar.normal_encoder(flat)[0, :, 0, 0].expand(len(texels.face), -1)
    weight = mouth_features.new_full((len(texels.face),), _UNSEEN_WEIGHT)
    return _paint(avatar, texels, encoding, mouth_features) * _UNSEEN_WEIGHT, weight


def _paint(
    avatar: NeuralHeadAvatar, texels: CoveredPixels, encoding: Tensor, mouth_features: Tensor
) -> Tensor:
    parts = [encoding.new_zeros(0, 3)]
    for index in torch.arange(len(texels.face), device=encoding.device).split(_CHUNK):
        parts.append(avatar.paint_points(_some(texels, index), encoding[index], mouth_features))
    return torch.cat(parts)


def _some(texels: CoveredPixels, index: Tensor) -> CoveredPixels:
    names = ("pixel", "image", "face", "barycentric")
    return dataclasses.replace(texels, **{name: getattr(texels, name)[index] for name in names})


def _as_picture(texels: CoveredPixels, rgb01: Tensor, seen: Tensor, size: int) -> BakedTexture:
    def image(values: Tensor) -> np.ndarray:
        return texels.to_image(values.float())[0].cpu().numpy()

    covered = image(torch.ones_like(rgb01[:, :1]))[..., 0] > 0
    rgb = np.rint(image(rgb01.clamp(0, 1)) * 255).astype(np.uint8)
    return BakedTexture(pad_charts(rgb, covered), covered, image(seen[:, None])[..., 0] > 0)


def pad_charts(rgb: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """Give every texel beyond the charts the colour of the nearest one inside, so that no seam shows.

    rgb: uint8 [R, R, 3]; covered: bool [R, R]. Without any covered texel the picture stays as it is.
    """
    if not covered.any():
        return rgb
    nearest = distance_transform_edt(~covered, return_distances=False, return_indices=True)
    return rgb[tuple(nearest)]
