"""Ground truth of one frame at the video's size: labels, normals, landmarks and irises."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from nha.core.conventions import N_FACE_LANDMARKS, Parsing, Segmentation
from nha.core.types import Camera
from nha.data.dataset_folder import Keypoints
from nha.render.camera import project
from nha.synthetic.rendering import surface_materials
from nha.synthetic.scene import Scene
from nha.synthetic.visibility import VisiblePoints

HIDDEN_CONFIDENCE = 0.3
# A landmark is hidden if a surface is more than this in front of it.
_HIDDEN_BEHIND_METRES = 0.008
_BARE_LABELS = (Parsing.BACKGROUND, Parsing.CLOTH, Parsing.L_EYE, Parsing.R_EYE, Parsing.MOUTH)


@dataclass(frozen=True)
class Truth:
    """Annotations of a frame.

    Attributes:
        parsing, segmentation: uint8 [H, W].
        normals: float32 [H, W, 3], x right, y down, z to the camera; 0 on background, cloth, eyes and in the mouth.
        keypoints: projected landmarks with confidence 1, or 0.3 if hidden; hidden irises are -1.
        landmarks_px: [70, 2] in the mesh's order, including hidden ones.
        visible: bool [70].
    """

    parsing: np.ndarray
    segmentation: np.ndarray
    normals: np.ndarray
    keypoints: Keypoints
    landmarks_px: np.ndarray
    visible: np.ndarray


def annotate(scene: Scene, hits: VisiblePoints, head_vertices: np.ndarray, camera: Camera) -> Truth:
    """Annotate a frame.

    Args:
        scene: the surfaces.
        hits: the visible points at the video's size.
        head_vertices: [V, 3] float32 vertices of the head model in this frame, world metres.
        camera: the camera of the video.
    """
    height, width = hits.size
    parsing = np.zeros(height * width, np.uint8)
    parsing[hits.pixel] = surface_materials(scene, hits).label
    normals = np.zeros((height * width, 3), np.float32)
    # camera axes are x left, y up, z away; the dataset's are the opposite directions
    normals[hits.pixel] = -hits.normal @ camera.extrinsics[0, :, :3].numpy()
    normals[np.isin(parsing, _BARE_LABELS)] = 0
    parsing = parsing.reshape(height, width)
    head = ~np.isin(parsing, (Parsing.BACKGROUND, Parsing.CLOTH))
    points = project(scene.head.landmarks(torch.from_numpy(head_vertices)[None]), camera)[0].numpy()
    visible = _visible(points, hits)
    irises = np.where(visible[N_FACE_LANDMARKS:, None], points[N_FACE_LANDMARKS:, :2], -1)
    for row in range(2):  # a closed lid hides the iris although it is only slightly in front
        if visible[N_FACE_LANDMARKS + row]:
            u, v = points[N_FACE_LANDMARKS + row, :2].astype(int)
            irises[row] = irises[row] if parsing[v, u] in (Parsing.L_EYE, Parsing.R_EYE) else -1
    visible[N_FACE_LANDMARKS:] = (irises >= 0).all(1)
    face = points[:N_FACE_LANDMARKS]
    focal_px = float(camera.intrinsics[0, 0, 0])
    keypoints = Keypoints(
        landmarks_px=face[:, :2].astype(np.float32),
        depth=((face[:, 2] - face[:, 2].mean()) * focal_px / face[:, 2].mean()).astype(np.float32),
        confidence=np.where(visible[:N_FACE_LANDMARKS], 1.0, HIDDEN_CONFIDENCE).astype(np.float32),
        iris_px=irises.astype(np.float32),
        bounding_box=(*face[:, :2].min(0).tolist(), *face[:, :2].max(0).tolist()),
        origin="synthetic truth",
    )
    return Truth(
        parsing=parsing,
        segmentation=np.where(head, Segmentation.HEAD, Segmentation.BACKGROUND).astype(np.uint8),
        normals=normals.reshape(height, width, 3),
        keypoints=keypoints,
        landmarks_px=points[:, :2].astype(np.float32),
        visible=visible,
    )


def _visible(points: np.ndarray, hits: VisiblePoints) -> np.ndarray:
    """Bool [K]: projected points [K, 3] that are inside the image and not hidden."""
    height, width = hits.size
    inside = (points[:, :2] >= 0).all(1) & (points[:, 0] < width) & (points[:, 1] < height)
    column = np.clip(points[:, 0].astype(int), 0, width - 1)
    row = np.clip(points[:, 1].astype(int), 0, height - 1)
    # A point on the outline may project beside its surface, so the farthest of 3 x 3 pixels is compared.
    padded = np.pad(hits.depth, 1, mode="edge")
    around = np.stack([padded[row + dy, column + dx] for dy in range(3) for dx in range(3)])
    open_side = np.where(np.isfinite(around), around, -np.inf).max(0)
    return inside & (points[:, 2] - open_side < _HIDDEN_BEHIND_METRES)
