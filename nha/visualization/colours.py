"""Colour maps: image tensors, normals, labels and errors as uint8 RGB."""

from __future__ import annotations

import colorsys

import cv2
import numpy as np
import torch
from torch import Tensor

ERROR_COLOURS = cv2.COLORMAP_INFERNO
_GOLDEN_RATIO = 0.6180339887


def to_uint8(rgb01: Tensor) -> np.ndarray:
    """Convert an image tensor to an array, clipping its values.

    Args:
        rgb01: [C, H, W] in 0..1; channels after the third are ignored.

    Returns:
        uint8 [H, W, 3].
    """
    rgb = rgb01[:3].detach().clamp(0, 1).mul(255).round().to("cpu", torch.uint8)
    return np.ascontiguousarray(rgb.permute(1, 2, 0).numpy())


def normals_to_rgb01(normals: Tensor, alpha: Tensor | None = None) -> Tensor:
    """Normals in the usual colours: red to the right, green upwards, blue to the camera.

    Args:
        normals: [N, 3, H, W], x right, y down, z to the camera.
        alpha: [N, 1, H, W]; pixels are white where it is 0. By default they are white where the normal is 0.

    Returns:
        [N, 3, H, W] in 0..1.
    """
    if alpha is None:
        alpha = (normals != 0).any(1, keepdim=True)
    upwards = normals * normals.new_tensor([1.0, -1.0, 1.0])[None, :, None, None]
    return torch.where(alpha > 0, (upwards * 0.5 + 0.5).clamp(0, 1), 1.0)


def label_palette(n: int) -> np.ndarray:
    """A list of n colours that differ from their neighbours, black first: uint8 [n, 3]."""
    colours = [
        colorsys.hsv_to_rgb(i * _GOLDEN_RATIO % 1, 0.45 + 0.4 * (i % 2), 0.95 - 0.25 * (i % 3 == 2))
        for i in range(n)
    ]
    palette = np.rint(np.array(colours, np.float64).reshape(-1, 3) * 255).astype(np.uint8)
    palette[:1] = 0
    return palette


def colour_labels(labels: np.ndarray) -> np.ndarray:
    """Integer labels [H, W] in 0..255 (parsing, segmentation) as colours uint8 [H, W, 3]; label 0 is black."""
    return label_palette(256)[labels]


def error_map(prediction: np.ndarray, truth: np.ndarray, full_scale: float = 0.25) -> np.ndarray:
    """The absolute difference of two images as a heat map, dark where they agree.

    Args:
        prediction, truth: uint8 [H, W, 3].
        full_scale: the difference, averaged over channels in 0..1, that is shown in the brightest colour.

    Returns:
        uint8 [H, W, 3].
    """
    difference = np.abs(prediction.astype(np.float32) - truth).mean(-1) / 255
    heat = np.rint(np.clip(difference / full_scale, 0, 1) * 255).astype(np.uint8)
    return cv2.cvtColor(cv2.applyColorMap(heat, ERROR_COLOURS), cv2.COLOR_BGR2RGB)
