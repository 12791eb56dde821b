"""Analytic antialiasing: pixels at silhouettes blend by where the silhouette crosses between pixel centres.

`docs/method.md`, section 2. The construction is that of Laine et al., "Modular Primitives for High-Performance
Differentiable Rendering", 2020, section 3.4, extended by a walk over the mesh from the pixel to the silhouette.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nha.core.types import Fragments, map_tensors
from nha.render.rasterize import chosen_raster_backend, usable_backend

# raster backend -> (module, function)
_BACKENDS = {
    "numba": ("nha.render.antialias_numba", "antialias_numba"),
    "triton": ("nha.render.antialias_triton", "antialias_triton"),
    "reference": ("nha.render.antialias_reference", "antialias_reference"),
    "pytorch3d": ("nha.render.antialias_reference", "antialias_reference"),  # has no such operation
}


@dataclass(frozen=True)
class EdgeTable:
    """The neighbours of every face of a mesh.

    Attributes:
        neighbours: [F, 3] long, the face on the other side of the edge from corner k to corner k + 1; -1 for an open
            edge. Faces are neighbours where they run along their common edge in opposite directions.
    """

    neighbours: Tensor

    @classmethod
    def from_faces(cls, faces: Tensor) -> EdgeTable:
        """The table of a mesh's faces [F, 3], on their device.

        Of several faces at one edge, the one with the lowest id is the neighbour.
        """
        corners = faces.detach().cpu().numpy().astype(np.int64)
        start, end = corners.reshape(-1), np.roll(corners, -1, axis=1).reshape(-1)
        vertices = int(corners.max()) + 1 if corners.size else 0
        key, opposite_key = start * vertices + end, end * vertices + start  # of the directed edges
        order = np.argsort(key, kind="stable")
        place = np.searchsorted(key, opposite_key, sorter=order)
        candidate = order[np.minimum(place, len(order) - 1)] if corners.size else order
        neighbours = np.where(key[candidate] == opposite_key, candidate // 3, -1)
        return cls(torch.from_numpy(neighbours.reshape(-1, 3)).to(faces.device))

    def to(self, device: torch.device | str) -> EdgeTable:
        """A copy on `device`."""
        return map_tensors(self, lambda tensor: tensor.to(device))


def antialias(
    values: Tensor,
    fragments: Fragments,
    screen: Tensor,
    faces: Tensor,
    edges: EdgeTable,
    *,
    backend: str | None = None,
) -> Tensor:
    """Values of an image, blended between neighbouring pixels where a silhouette passes between their centres.

    Args:
        values: [N, C, H, W] the values to blend, such as colours on a background and alpha. They must be defined
            on the background, too.
        fragments: the visible surface; the first layer is used.
        screen: [N, V, 3] u (px from the left), v (px from the top), camera z (metres); see `camera.project`.
        faces: [F, 3] long, the rasterised faces.
        edges: their neighbours.
        backend: one of `rasterize.BACKENDS`; None is the one chosen for rasterisation.

    Returns:
        [N, C, H, W], differentiable once in values and in the u and v of screen.

    Raises:
        UserError: the backend is unknown, is not installed, or does not run on the tensors' device.
        ValueError: a tensor's shape is wrong.
    """
    expected = (len(fragments.face_index), *fragments.face_index.shape[1:3])
    if values.ndim != 4 or (len(values), *values.shape[2:]) != expected:
        raise ValueError(
            f"values must be [N, C, H, W] with N, H, W of the fragments {list(expected)}, got {list(values.shape)}"
        )
    if screen.ndim != 3 or screen.shape[-1] != 3 or len(screen) != expected[0]:
        raise ValueError(f"screen must be [{expected[0]}, V, 3], got {list(screen.shape)}")
    if edges.neighbours.shape != faces.shape:
        raise ValueError(
            f"edges is the table of {len(edges.neighbours)} faces, faces has shape {list(faces.shape)}"
        )
    if values.numel() == 0 or len(faces) == 0:
        return values
    name = usable_backend(backend or chosen_raster_backend(), values.device)
    module, function = _BACKENDS[name]
    face_index, depth = fragments.face_index[..., 0], fragments.depth[..., 0]
    blended = getattr(importlib.import_module(module), function)(
        _at_least_float32(values), face_index, depth, screen, faces, edges.neighbours
    )
    return blended.to(values.dtype)


def _at_least_float32(values: Tensor) -> Tensor:
    return values if values.dtype in (torch.float32, torch.float64) else values.float()
