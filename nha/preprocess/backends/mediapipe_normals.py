"""Normals of mediapipe's face mesh, rasterised."""

from __future__ import annotations

import numpy as np
import torch

from nha.core.mesh import vertex_normals
from nha.preprocess.backends.mediapipe_mesh import N_MESH_POINTS, face_topology
from nha.preprocess.estimators import Face, Frame
from nha.render.interpolate import interpolate_vertices
from nha.render.rasterize import rasterize

NOSE_TIP = 4
# The mesh's depth is given for parallel projection: seen from this many picture sizes away, perspective
# vanishes.
VIEWING_DISTANCE = 1000.0


class MediapipeNormals:
    """Draws the mesh's own smooth surface: the face's oval, without the eyes and the open mouth."""

    name = "mediapipe face mesh surface"

    def normals(self, frame: Frame, face: Face, segmentation: np.ndarray) -> np.ndarray:
        """float32 [H, W, 3]; see `estimators.NormalEstimator`."""
        height, width = segmentation.shape
        surface = torch.from_numpy(face.mesh_px[:N_MESH_POINTS])[None]  # [1, 468, 3]
        triangles = torch.from_numpy(face_topology().triangles)
        normals = _outward_normals(surface, triangles)
        distant = surface + torch.tensor([0.0, 0.0, VIEWING_DISTANCE * max(height, width)])
        fragments = rasterize(distant, triangles, (height, width), layers=1)
        drawn = interpolate_vertices(fragments, normals, triangles)[0].numpy()
        length = np.linalg.norm(drawn, axis=2, keepdims=True)
        towards_camera = drawn[..., 2:] > 0
        known = towards_camera & (length > 0.1) & (segmentation > 0)[..., None]
        return np.where(known, drawn / np.maximum(length, 1e-6), 0).astype(np.float32)


def _outward_normals(surface: torch.Tensor, triangles: torch.Tensor) -> torch.Tensor:
    """Unit normals [1, V, 3] out of the face: x right, y down, z to the camera."""
    normals = vertex_normals(surface, triangles)
    out_of_face = surface[0, NOSE_TIP] - surface[0].mean(dim=0)
    if torch.dot(normals[0, NOSE_TIP], out_of_face) < 0:
        normals = -normals
    return normals * torch.tensor([1.0, 1.0, -1.0])
