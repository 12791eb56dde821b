"""The error of all frames, accumulated on the surface of the head."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from nha.avatar.base import HeadAvatar
from nha.core.types import Camera, HeadParams
from nha.evaluation.rendered_frames import RenderedFrames
from nha.render.interpolate import covered_pixels
from nha.visualization.colours import ERROR_COLOURS

FULL_SCALE = 0.12  # mean difference (of colours in 0..1) that has the brightest colour
_UNSEEN_RGB = 235


class SurfaceErrors:
    """Mean |prediction - target| of each vertex over all frames in which it is visible inside the head mask.

    The error of a pixel is distributed to the corners of the visible face by its barycentric coordinates.

    Args:
        avatar: whose frames are added.
    """

    def __init__(self, avatar: HeadAvatar) -> None:
        self._faces = avatar.head.faces
        n_vertices, device = avatar.head.n_vertices, avatar.device
        self._error = torch.zeros(n_vertices, dtype=torch.float64, device=device)
        self._weight = torch.zeros(n_vertices, dtype=torch.float64, device=device)

    def add(self, rendered: RenderedFrames) -> None:
        """Add the frames of a rendered batch."""
        covered = covered_pixels(rendered.rendering.gbuffer.fragments).only(rendered.mask)
        error = (rendered.prediction - rendered.target).abs().mean(1).flatten()[covered.pixel]
        corners = self._faces[covered.face].flatten()
        weight = covered.barycentric.double().flatten()
        self._weight.index_add_(0, corners, weight)
        self._error.index_add_(0, corners, weight * error.double().repeat_interleave(3))

    def mean(self) -> Tensor:
        """Return the mean error [V] in 0..1 units; NaN for vertices that were never visible."""
        return torch.where(self._weight > 0, self._error / self._weight, torch.nan).float()


@torch.no_grad()
def render_surface_errors(
    avatar: HeadAvatar, mean_error: Tensor, params: HeadParams, camera: Camera
) -> list[np.ndarray]:
    """Render heads in the colours of their vertices' errors.

    Args:
        avatar: the avatar.
        mean_error: [V] in 0..1 units; vertices with NaN are grey.
        params: N parameters with the learned corrections.
        camera: N cameras.

    Returns:
        uint8 [H, W, 3] for each of the N heads.
    """
    gbuffer = avatar.render(params, camera, corrected=True, channels=("normals",), paint=False).gbuffer
    covered = covered_pixels(gbuffer.fragments)
    seen = mean_error.isfinite().float()
    values = torch.stack([mean_error.nan_to_num(0), seen], 1)[None]
    values = covered.to_image(covered.from_vertices(values, avatar.head.faces)).cpu().numpy()  # [N, H, W, 2]
    light = (0.55 + 0.45 * gbuffer["normals"][:, 2].clamp(0, 1)).cpu().numpy()
    alpha = gbuffer.alpha[:, 0].cpu().numpy()
    return [_coloured(values[i], light[i], alpha[i]) for i in range(len(values))]


def _coloured(values: np.ndarray, light: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Error and visibility [H, W, 2] as colours on white, uint8 [H, W, 3]."""
    share = values[..., 0] / np.maximum(values[..., 1], 1e-6) / FULL_SCALE
    heat = np.rint(np.clip(share, 0, 1) * 255).astype(np.uint8)
    rgb = cv2.cvtColor(cv2.applyColorMap(heat, ERROR_COLOURS), cv2.COLOR_BGR2RGB).astype(np.float32)
    rgb = np.where(values[..., 1:] > 0.5, rgb, _UNSEEN_RGB * light[..., None])
    return np.where(alpha[..., None] > 0, np.rint(rgb), 255).astype(np.uint8)
