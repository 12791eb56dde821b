"""Definition of pixel coverage in plain torch; every raster backend repeats this arithmetic.

All computations are float32 in raster NDC (see `camera`) and in this order of operations, so that the backends agree
to the bit:

- `edge(p, a, b)` = (p_x - a_x)(b_y - a_y) - (p_y - a_y)(b_x - a_x), twice the signed area of (p, a, b);
- screen barycentrics = edges over (area + 1e-8), made perspective-correct with the other corners' depths;
- a pixel is covered where all three are > 0 (either winding); its depth is the barycentric mean of camera z;
- faces with a corner at z <= 1e-8 or with |area| <= 1e-8 cover nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nha.render.camera import MIN_DEPTH_METRES

MIN_AREA = 1e-8  # of twice the signed area in raster NDC; smaller faces, seen edge-on, are skipped
AREA_GUARD = 1e-8  # added to the area before dividing
MIN_PERSPECTIVE_SUM = 1e-8


def edge(point: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Twice the signed area [...] of the triangles (point, start, end), each [..., 2] and broadcast."""
    along = (point[..., 0] - start[..., 0]) * (end[..., 1] - start[..., 1])
    across = (point[..., 1] - start[..., 1]) * (end[..., 0] - start[..., 0])
    return along - across


def signed_area(corners: Tensor) -> Tensor:
    """Twice the signed area of triangles [..., 3, 2 or more], raster NDC; > 0: counter-clockwise on screen.

    Raster NDC mirrors x, so corners that run counter-clockwise on screen run clockwise in NDC coordinates.
    """
    return edge(corners[..., 2, :], corners[..., 0, :], corners[..., 1, :])


def drawable_faces(corners: Tensor, cull_back_faces: bool) -> Tensor:
    """Whether triangles can cover pixels at all.

    Args:
        corners: [..., 3, 3] raster NDC x, y and camera z.
        cull_back_faces: also drop triangles whose corners run clockwise on screen.

    Returns:
        [...] bool; False for NaN corners.
    """
    area = signed_area(corners)
    in_front = (corners[..., 2] > MIN_DEPTH_METRES).all(-1)
    large_enough = area > MIN_AREA if cull_back_faces else area.abs() > MIN_AREA
    return in_front & large_enough


def barycentrics_and_depth(points: Tensor, corners: Tensor) -> tuple[Tensor, Tensor]:
    """Perspective-correct barycentrics of points in triangles, and the camera z there.

    Args:
        points: [..., 2] raster NDC.
        corners: [..., 3, 3] raster NDC x, y and camera z; leading axes broadcast with the points'.

    Returns:
        barycentrics [..., 3] (all > 0 where the point is covered) and depth [...] in metres.
    """
    a, b, c = corners.unbind(-2)  # [..., 3] each
    area = edge(c, a, b) + AREA_GUARD
    weight_a = edge(points, b, c) / area
    weight_b = edge(points, c, a) / area
    weight_c = edge(points, a, b) / area
    z_a, z_b, z_c = a[..., 2], b[..., 2], c[..., 2]
    top_a = weight_a * z_b * z_c
    top_b = z_a * weight_b * z_c
    top_c = z_a * z_b * weight_c
    total = (top_a + top_b + top_c).clamp_min(MIN_PERSPECTIVE_SUM)
    bary_a, bary_b, bary_c = top_a / total, top_b / total, top_c / total
    depth = bary_a * z_a + bary_b * z_b + bary_c * z_c
    return torch.stack((bary_a, bary_b, bary_c), dim=-1), depth
