"""A sheet of images of a procedural head: views, textures, expressions and identities."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import cv2
import numpy as np
import torch

from nha.core.errors import UserError
from nha.core.system import atomic_path
from nha.core.types import Camera, HeadParams
from nha.head.assets import HeadAssets
from nha.head.flame_files import read_head_folder
from nha.head.joint_limits import EYES_LIMITS_DEG, JAW_LIMITS_DEG, params_from_angles
from nha.head.model import HeadModel
from nha.render.gbuffer import draw_gbuffer
from nha.render.shading import phong_image

TILE_PIXELS = 384
MOUTH_INSIDE_RGB01 = (0.25, 0.08, 0.08)


def preview_rows(assets: HeadAssets) -> list[list[dict]]:
    """Return the sheet as rows of tiles: yaw in degrees, coefficients by name, jaw and eye angles in radians."""
    both = {"smile": 1.4, "cheek_raise": 0.8}
    rng = np.random.default_rng(5)
    n = len(assets.shape_names)
    people = [dict(zip(assets.shape_names, rng.standard_normal(n), strict=True)) for _ in range(5)]
    return [
        [{"yaw": yaw} for yaw in (0, 30, 60, 90, 180)],
        [{"yaw": yaw, "textured": True} for yaw in (0, 35)]
        + [{"jaw": 0.3, "textured": True}, {"expr": both, "textured": True}, {"eyes": 0.3, "textured": True}],
        [{"expr": {name: 1.5}} for name in ("blink", "pucker", "sneer", "brow_outer_raise", "funnel")],
        [{"yaw": 25, "shape": person} for person in people],
    ]


def tile_params(model: HeadModel, assets: HeadAssets, tile: dict) -> HeadParams:
    """Return the parameters of one tile's head, one metre in front of the camera."""
    params = model.neutral_params()
    shape, expr = torch.zeros_like(params.shape), torch.zeros_like(params.expr)
    for name, value in tile.get("shape", {}).items():
        shape[0, assets.shape_names.index(name)] = value
    for name, value in tile.get("expr", {}).items():
        for index, known in enumerate(assets.expression_names):
            if known in (name, f"{name}_left", f"{name}_right"):
                expr[0, index] = value
    jaw = torch.tensor([[tile.get("jaw", 0.0), 0.0, 0.0]])
    eyes = torch.tensor([[0.0, tile.get("eyes", 0.0), 0.0] * 2])
    return dataclasses.replace(
        params,
        shape=shape,
        expr=expr,
        jaw=params_from_angles(jaw, JAW_LIMITS_DEG),
        eyes=params_from_angles(eyes, EYES_LIMITS_DEG),
        rotation=torch.tensor([[0.0, math.pi + math.radians(tile.get("yaw", 0)), 0.0]]),
        translation=torch.tensor([[0.0, -0.16, 1.0]]),
    )


def textured_image(
    vertices: torch.Tensor, model: HeadModel, albedo: torch.Tensor, camera: Camera
) -> torch.Tensor:
    """Return the head with its texture `albedo` [1, 3, S, S] under a soft light: [1, 3, H, W], rgb 0..1 on white."""
    buffer = draw_gbuffer(vertices, model.tables, camera, ("normals", "uvcoords", "uvmap"))
    grid = buffer["uvcoords"][:, :2].permute(0, 2, 3, 1)
    rgb = torch.nn.functional.grid_sample(albedo, grid, align_corners=False)
    rgb = torch.lerp(rgb, rgb.new_tensor(MOUTH_INSIDE_RGB01)[:, None, None].expand_as(rgb), buffer["uvmap"])
    normals = torch.nn.functional.normalize(buffer["normals"], dim=1)
    # The G-buffer's normals: x right, y down, z to the camera.
    light = torch.nn.functional.normalize(normals.new_tensor([-0.3, -0.5, 0.8]), dim=0)
    shading = 0.45 + 0.65 * (normals * light[:, None, None]).sum(1, keepdim=True).clamp_min(0)
    return (rgb * shading).clamp(0, 1) * buffer.alpha + 1 - buffer.alpha


def write_head_preview(folder: Path, image: Path) -> None:
    """Draw a head folder as a sheet of views, expressions and identities, and write it as a PNG image."""
    assets = read_head_folder(folder)
    model = HeadModel(assets, subdivisions=1)
    with np.load(assets.texture_file) as texture:
        albedo = torch.from_numpy(texture["mean"][..., ::-1].copy()).permute(2, 0, 1)[None] / 255
    focal = TILE_PIXELS / 0.30
    intrinsics = torch.tensor([[[focal, 0, TILE_PIXELS / 2], [0, focal, TILE_PIXELS / 2], [0, 0, 1]]])
    camera = Camera(intrinsics, torch.eye(3, 4)[None], (TILE_PIXELS, TILE_PIXELS))
    rows = []
    for row in preview_rows(assets):
        tiles = []
        for tile in row:
            vertices = model(tile_params(model, assets, tile))
            if tile.get("textured"):
                drawn = textured_image(vertices, model, albedo, camera)
            else:
                drawn = phong_image(vertices, model.faces, camera)[:, :3]
            tiles.append(drawn[0].permute(1, 2, 0))
        rows.append(torch.cat(tiles, 1))
    sheet = (torch.cat(rows, 0) * 255).round().byte().numpy()
    with atomic_path(image) as temporary:
        if not cv2.imwrite(str(temporary), sheet[..., ::-1]):
            raise UserError(f"cannot write an image to '{image}'; use a name that ends in .png")
