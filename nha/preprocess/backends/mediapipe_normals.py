"""Normals by rasterising mediapipe's face mesh."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numba
import numpy as np
import torch

from nha.core.mesh import vertex_normals
from nha.preprocess.backends.face_geometry import surface_mask
from nha.preprocess.backends.mediapipe_mesh import N_MESH_POINTS, face_topology
from nha.preprocess.estimators import Face, Frame, NormalEstimator
from nha.render.interpolate import interpolate_vertices
from nha.render.rasterize import rasterize

NOSE_TIP = 4
# The depth of the mesh is for parallel projection, which a camera at this distance (in image sizes) approximates.
VIEWING_DISTANCE = 1000.0
MAX_RENDER_EDGE_PX = 160


class MediapipeNormals(NormalEstimator):
    """Normals of the smooth mesh surface: the oval of the face without the eyes and the open mouth."""

    name = "mediapipe face mesh surface"
    needs_mesh = True

    def normals(self, frame: Frame, face: Face, segmentation: np.ndarray) -> np.ndarray:
        """See `NormalEstimator.normals`."""
        normals = np.zeros((*segmentation.shape, 3), np.float32)
        surface = face.mesh_px[:N_MESH_POINTS]
        box = _box_around(surface, segmentation.shape)
        inside = segmentation[box] > 0
        if inside.any():
            corner = np.float32([box[1].start, box[0].start, 0])
            normals[box] = render_normals(surface - corner, inside)
        return normals


def render_normals(surface_px: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Unit normals of a surface, rasterised.

    Args:
        surface_px: float32 [468, 3], the face mesh.
        mask: bool [H, W], pixels whose normals are requested.

    Returns:
        float32 [H, W, 3]: x right, y down, z towards the camera; 0 outside of the mask and of the surface.
    """
    height, width = mask.shape
    # The surface is smooth: rasterising it at a lower resolution changes normals less than their error.
    shrink = min(1.0, MAX_RENDER_EDGE_PX / max(height, width))
    small = max(1, round(height * shrink)), max(1, round(width * shrink))
    triangles = torch.from_numpy(face_topology().triangles)
    scale = np.float32([small[1] / width, small[0] / height, shrink])
    surface = torch.from_numpy(surface_px * scale)[None]
    distant = surface + torch.tensor([0.0, 0.0, VIEWING_DISTANCE * max(small)])
    with _one_thread():
        fragments = rasterize(distant, triangles, small, layers=1)
        rendered = interpolate_vertices(fragments, outward_normals(surface, triangles), triangles)[0].numpy()
    if shrink < 1:
        rendered = cv2.resize(rendered, (width, height), interpolation=cv2.INTER_LINEAR)
        mask = mask & surface_mask(surface_px, face_topology(), mask.shape)
    length = np.sqrt(np.einsum("hwc,hwc->hw", rendered, rendered))
    known = mask & (rendered[..., 2] > 0) & (length > 0.1)
    result = np.zeros_like(rendered)
    result[known] = rendered[known] / length[known, None]
    return result


@contextmanager
def _one_thread() -> Iterator[None]:
    # The images are too small for several threads, which would also slow down the other steps.
    n_torch, n_numba = torch.get_num_threads(), numba.get_num_threads()
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_torch)
        numba.set_num_threads(n_numba)


def _box_around(surface_px: np.ndarray, shape: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of the image that a surface can cover."""
    low, high = np.floor(surface_px[:, :2].min(axis=0)), np.ceil(surface_px[:, :2].max(axis=0))
    (left, top), (right, bottom) = (np.clip(edge, 0, shape[::-1]).astype(int) for edge in (low, high))
    return slice(top, bottom), slice(left, right)


def outward_normals(surface: torch.Tensor, triangles: torch.Tensor) -> torch.Tensor:
    """Unit normals [1, V, 3] that point out of the face: x right, y down, z towards the camera."""
    normals = vertex_normals(surface, triangles)
    out_of_face = surface[0, NOSE_TIP] - surface[0].mean(dim=0)
    if torch.dot(normals[0, NOSE_TIP], out_of_face) < 0:
        normals = -normals
    return normals * torch.tensor([1.0, 1.0, -1.0])
