"""The texels of a UV map that lie on the mesh."""

from __future__ import annotations

import dataclasses

import torch

from nha.head.model import HeadModel
from nha.render.interpolate import CoveredPixels, covered_pixels
from nha.render.rasterize import rasterize


@torch.no_grad()
def mesh_texels(head: HeadModel, uv_map: int, size: int) -> CoveredPixels:
    """The texels of a map that lie on the mesh, as points on its faces.

    Args:
        head: the head model.
        uv_map: 0 for the head's map, 1 for the mouth's.
        size: side of the map in texels.
    """
    ids = (head.face_uvmap == uv_map).nonzero().squeeze(1)
    u, v = head.uvs.unbind(1)
    screen = torch.stack([u * size, (1 - v) * size, torch.ones_like(u)], 1)[None]
    covered = covered_pixels(rasterize(screen, head.uv_faces[ids], (size, size), layers=1))
    return dataclasses.replace(covered, face=ids[covered.face])
