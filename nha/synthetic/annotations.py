"""The truth of one frame: labels, normals, landmarks and irises, at the video's size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from nha.core.conventions import N_FACE_LANDMARKS, Parsing, Segmentation
from nha.core.types import Camera
from nha.data.dataset_folder import Keypoints
from nha.render.camera import project
from nha.synthetic.draw import paint_points
from nha.synthetic.scene import Scene
from nha.synthetic.seen import SeenPoints

HIDDEN_CONFIDENCE = 0.3
# A landmark counts as seen when the picture's surface is not nearer than this in front of it.
_HIDDEN_BEHIND_METRES = 0.008
_BARE_LABELS = (Parsing.BACKGROUND, Parsing.CLOTH, Parsing.L_EYE, Parsing.R_EYE, Parsing.MOUTH)


@dataclass(frozen=True)
class Truth:
    """parsing, segmentation: uint8 [H, W]; normals: float32 [H, W, 3], x right, y down, z to the camera, 0 on
    background, cloth, eyes and the mouth's inside; keypoints: true projections, confidence 1, or 0.3 where
    something hides the point, irises -1 where hidden; landmarks_px: [70, 2] and visible: bool [70], hidden
    ones included (mesh order)."""

    parsing: np.ndarray
    segmentation: np.ndarray
    normals: np.ndarray
    keypoints: Keypoints
    landmarks_px: np.ndarray
    visible: np.ndarray


def annotate(scene: Scene, seen: SeenPoints, head_vertices: np.ndarray, camera: Camera) -> Truth:
    """Annotate a frame. seen: at the video's size; head_vertices: [V, 3] of this frame."""
    height, width = seen.size
    parsing = np.zeros(height * width, np.uint8)
    parsing[seen.pixel] = paint_points(scene, seen).label
    normals = np.zeros((height * width, 3), np.float32)
    # Camera axes are x left, y up, z away; the dataset's are their opposites.
    normals[seen.pixel] = -seen.normal @ camera.extrinsics[0, :, :3].numpy()
    normals[np.isin(parsing, _BARE_LABELS)] = 0
    parsing = parsing.reshape(height, width)
    head = ~np.isin(parsing, (Parsing.BACKGROUND, Parsing.CLOTH))
    points = project(scene.head.landmarks(torch.from_numpy(head_vertices)[None]), camera)[0].numpy()
    visible = _visible(points, seen)
    irises = np.where(visible[N_FACE_LANDMARKS:, None], points[N_FACE_LANDMARKS:, :2], -1)
    for row in range(2):  # a shut lid hides the iris though it lies just behind
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


def _visible(points: np.ndarray, seen: SeenPoints) -> np.ndarray:
    """Which projected points [K, 3] lie in the picture with nothing in front of them."""
    height, width = seen.size
    inside = (points[:, :2] >= 0).all(1) & (points[:, 0] < width) & (points[:, 1] < height)
    column = np.clip(points[:, 0].astype(int), 0, width - 1)
    row = np.clip(points[:, 1].astype(int), 0, height - 1)
    # A point on the outline may project beside the surface: the nearest of 3 x 3 pixels decides.
    padded = np.pad(seen.depth, 1, mode="edge")
    around = np.stack([padded[row + dy, column + dx] for dy in range(3) for dx in range(3)])
    open_side = np.where(np.isfinite(around), around, -np.inf).max(0)
    return inside & (points[:, 2] - open_side < _HIDDEN_BEHIND_METRES)
