"""Reference rasteriser in plain torch, slow: one image row at a time, all candidate faces of the row at once."""

from __future__ import annotations

import torch
from torch import Tensor

from nha.render.camera import pixel_centres_raster_ndc
from nha.render.coverage import barycentrics_and_depth, drawable_faces


def rasterize_reference(
    vertices: Tensor, faces: Tensor, image_size: tuple[int, int], layers: int, cull_back_faces: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Rasterise triangle meshes that share one topology.

    Args:
        vertices: [N, V, 3] float32, raster NDC x, y and camera z.
        faces: [F, 3] long.
        image_size: (H, W).
        layers: number of nearest faces kept per pixel.
        cull_back_faces: keep only faces that run counter-clockwise on screen.

    Returns:
        face_index [N, H, W, L] long (-1 where uncovered), barycentric [N, H, W, L, 3] (0), depth [N, H, W, L] (-1).
    """
    height, width = image_size
    batch, device = len(vertices), vertices.device
    face_index = torch.full((batch, height, width, layers), -1, dtype=torch.long, device=device)
    barycentric = torch.zeros(batch, height, width, layers, 3, device=device)
    depth = torch.full((batch, height, width, layers), -1.0, device=device)
    if len(faces) == 0:
        return face_index, barycentric, depth
    column_x, row_y = pixel_centres_raster_ndc(image_size, device)
    for n in range(batch):
        ids = drawable_faces(vertices[n][faces], cull_back_faces).nonzero()[:, 0]
        corners = vertices[n][faces[ids]]  # [D, 3, 3]
        lowest, highest = corners[..., 1].amin(1), corners[..., 1].amax(1)
        for row in range(height):
            in_row = ((lowest <= row_y[row]) & (highest >= row_y[row])).nonzero()[:, 0]
            if len(in_row) == 0:
                continue
            points = torch.stack((column_x, row_y[row].expand(width)), dim=-1)  # [W, 2]
            bary, z = barycentrics_and_depth(points, corners[in_row][:, None])  # [R, W, 3], [R, W]
            z = torch.where((bary > 0).all(-1), z, torch.inf)
            # a stable sort keeps the lower face id first at equal depth
            z, order = z.sort(dim=0, stable=True)
            kept = min(layers, len(in_row))
            z, order = z[:kept].T, order[:kept].T  # [W, kept]
            found = z < torch.inf
            face_index[n, row, :, :kept] = torch.where(found, ids[in_row][order], -1)
            chosen = bary[order, torch.arange(width, device=device)[:, None]]  # [W, kept, 3]
            barycentric[n, row, :, :kept] = torch.where(found[..., None], chosen, 0.0)
            depth[n, row, :, :kept] = torch.where(found, z, -1.0)
    return face_index, barycentric, depth
