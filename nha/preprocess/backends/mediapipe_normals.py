"""Normals of mediapipe's face mesh, rasterised."""

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
from nha.preprocess.estimators import Face, Frame
from nha.render.interpolate import interpolate_vertices
from nha.render.rasterize import rasterize

NOSE_TIP = 4
# The mesh's depth is given for parallel projection: seen from this many picture sizes away, perspective
# vanishes.
VIEWING_DISTANCE = 1000.0
DRAWN_EDGE_PX = 160


class MediapipeNormals:
    """Draws the mesh's own smooth surface: the face's oval, without the eyes and the open mouth."""

    name = "mediapipe face mesh surface"

    def normals(self, frame: Frame, face: Face, segmentation: np.ndarray) -> np.ndarray:
        """float32 [H, W, 3]; see `estimators.NormalEstimator`."""
        normals = np.zeros((*segmentation.shape, 3), np.float32)
        surface = face.mesh_px[:N_MESH_POINTS]
        box = _box_around(surface, segmentation.shape)
        inside = segmentation[box] > 0
        if inside.any():
            corner = np.float32([box[1].start, box[0].start, 0])
            normals[box] = draw_normals(surface - corner, inside)
        return normals


def draw_normals(surface_px: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Unit normals of the surface that faces the camera where they are wanted, 0 elsewhere.

    surface_px: float32 [468, 3]; wanted: bool [H, W]. Returns float32 [H, W, 3].
    """
    height, width = wanted.shape
    # The surface is so smooth that drawing it smaller changes its normals less than they are wrong by.
    shrink = min(1.0, DRAWN_EDGE_PX / max(height, width))
    small = max(1, round(height * shrink)), max(1, round(width * shrink))
    triangles = torch.from_numpy(face_topology().triangles)
    scale = np.float32([small[1] / width, small[0] / height, shrink])
    surface = torch.from_numpy(surface_px * scale)[None]
    distant = surface + torch.tensor([0.0, 0.0, VIEWING_DISTANCE * max(small)])
    with _one_thread():
        fragments = rasterize(distant, triangles, small, layers=1)
        drawn = interpolate_vertices(fragments, outward_normals(surface, triangles), triangles)[0].numpy()
    if shrink < 1:
        drawn = cv2.resize(drawn, (width, height), interpolation=cv2.INTER_LINEAR)
        wanted = wanted & surface_mask(surface_px, face_topology(), wanted.shape)
    length = np.sqrt(np.einsum("hwc,hwc->hw", drawn, drawn))
    known = wanted & (drawn[..., 2] > 0) & (length > 0.1)
    result = np.zeros_like(drawn)
    result[known] = drawn[known] / length[known, None]
    return result


@contextmanager
def _one_thread() -> Iterator[None]:
    # For so little work more threads only wait for one another, and take the cores from the other stages.
    n_torch, n_numba = torch.get_num_threads(), numba.get_num_threads()
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_torch)
        numba.set_num_threads(n_numba)


def _box_around(surface_px: np.ndarray, shape: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of the picture that a surface can cover."""
    low, high = np.floor(surface_px[:, :2].min(axis=0)), np.ceil(surface_px[:, :2].max(axis=0))
    (left, top), (right, bottom) = (np.clip(edge, 0, shape[::-1]).astype(int) for edge in (low, high))
    return slice(top, bottom), slice(left, right)


def outward_normals(surface: torch.Tensor, triangles: torch.Tensor) -> torch.Tensor:
    """Unit normals [1, V, 3] out of the face: x right, y down, z to the camera."""
    normals = vertex_normals(surface, triangles)
    out_of_face = surface[0, NOSE_TIP] - surface[0].mean(dim=0)
    if torch.dot(normals[0, NOSE_TIP], out_of_face) < 0:
        normals = -normals
    return normals * torch.tensor([1.0, 1.0, -1.0])
