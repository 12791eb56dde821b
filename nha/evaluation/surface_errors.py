"""Where on the head the avatar is wrong: the error of every frame, gathered on the surface."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from nha.avatar.avatar import NeuralHeadAvatar
from nha.core.types import Camera, HeadParams
from nha.evaluation.evaluator import DrawnFrames
from nha.render.interpolate import covered_pixels
from nha.visualization.colours import ERROR_COLOURS

FULL_SCALE = 0.12  # the mean difference (of colours in 0..1) that gets the brightest colour
_UNSEEN_RGB = 235


class SurfaceErrors:
    """Mean |prediction - truth| of each vertex over all frames in which it was seen inside the head mask.

    Hand `add` to `evaluate(also=...)`.
    """

    def __init__(self, avatar: NeuralHeadAvatar) -> None:
        self._faces = avatar.head.faces
        n_vertices, device = avatar.head.n_vertices, avatar.vertex_features.device
        self._error = torch.zeros(n_vertices, dtype=torch.float64, device=device)
        self._weight = torch.zeros(n_vertices, dtype=torch.float64, device=device)

    def add(self, part: str, drawn: DrawnFrames) -> None:
        """Add the frames of a drawn batch."""
        covered = covered_pixels(drawn.fragments).only(drawn.mask)
        error = (drawn.prediction - drawn.target).abs().mean(1).flatten()[covered.pixel]
        corners = self._faces[covered.face].flatten()
        weight = covered.barycentric.double().flatten()
        self._weight.index_add_(0, corners, weight)
        self._error.index_add_(0, corners, weight * error.double().repeat_interleave(3))

    def mean(self) -> Tensor:
        """The mean error [V] in 0..1 units; NaN for vertices that were never seen."""
        return torch.where(self._weight > 0, self._error / self._weight, torch.nan).float()


@torch.no_grad()
def error_picture(
    avatar: NeuralHeadAvatar, mean_error: Tensor, params: HeadParams, camera: Camera, backend: str = "auto"
) -> list[np.ndarray]:
    """Corrected heads [N] in the colours of their vertices' error [V], grey where unseen: uint8 [H, W, 3] each."""
    surface = avatar.surface(params)
    gbuffer = avatar.rasterize(surface, camera, backend=backend)
    covered = covered_pixels(gbuffer.fragments)
    seen = mean_error.isfinite().float()
    values = torch.stack([mean_error.nan_to_num(0), seen], 1)[None]
    drawn = covered.to_image(covered.from_vertices(values, avatar.head.faces)).cpu().numpy()  # [N, H, W, 2]
    light = (0.55 + 0.45 * gbuffer["normals"][:, 2].clamp(0, 1)).cpu().numpy()
    alpha = gbuffer.alpha[:, 0].cpu().numpy()
    return [_coloured(drawn[i], light[i], alpha[i]) for i in range(len(drawn))]


def _coloured(drawn: np.ndarray, light: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = drawn[..., 0] / np.maximum(drawn[..., 1], 1e-6) / FULL_SCALE
    heat = np.rint(np.clip(share, 0, 1) * 255).astype(np.uint8)
    rgb = cv2.cvtColor(cv2.applyColorMap(heat, ERROR_COLOURS), cv2.COLOR_BGR2RGB).astype(np.float32)
    rgb = np.where(drawn[..., 1:] > 0.5, rgb, _UNSEEN_RGB * light[..., None])
    return np.where(alpha[..., None] > 0, np.rint(rgb), 255).astype(np.uint8)
