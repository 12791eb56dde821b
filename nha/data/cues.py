"""Quantities derived from a frame's annotations: opening of the eyes, and reliability of its labels."""

from __future__ import annotations

import torch
from torch import Tensor

from nha.core.constants import constant
from nha.core.conventions import Parsing
from nha.core.rotations import rotation_matrix

# Beyond these angles the parsing of eyes and mouth is unreliable. `docs/method.md`, section 4.
TRUSTED_AZIMUTH_DEG = 30.0
TRUSTED_ELEVATION_DEG = 20.0


def eye_heights(parsing: Tensor) -> Tensor:
    """Height in pixels of the bounding boxes of the parsed eyes, last row minus first.

    Args:
        parsing: [N, H, W], labels of `Parsing`.

    Returns:
        float [N, 2], left and right; 0 for an eye without pixels.
    """
    return torch.stack([_label_height(parsing == label) for label in (Parsing.L_EYE, Parsing.R_EYE)], 1)


def _label_height(mask: Tensor) -> Tensor:
    rows = mask.any(2)  # [N, H]
    counted = rows.to(torch.uint8)  # argmax does not support bool; it returns the first of equal values
    first = counted.argmax(1)
    last = rows.shape[1] - 1 - counted.flip(1).argmax(1)
    return torch.where(rows.any(1), last - first, 0).float()


def semantic_trust(rotation: Tensor, neck_angles_rad: Tensor) -> Tensor:
    """Weight of the semantic labels of a frame: 1 for a frontal face, 0 for a profile.

    `docs/method.md`, section 4.

    Args:
        rotation: [N, 3] axis-angle in radians, tracked global rotation of the head.
        neck_angles_rad: [N, 3] axis-angle of the neck joint, *after* the joint limits.

    Returns:
        [N] in 0..1, without gradient because it is a constant of the frame.
    """
    with torch.no_grad():
        backwards = constant((0.0, 0.0, -1.0), rotation)
        of_root, of_neck = rotation_matrix(torch.stack([rotation, neck_angles_rad])).unbind()
        gaze = of_root @ of_neck @ backwards
        x, y, z = gaze.unbind(-1)
        azimuth_deg = torch.rad2deg(torch.atan2(z, x)) - 90
        elevation_deg = torch.rad2deg(torch.arccos(y.clamp(-1, 1))) - 90
        return torch.sigmoid(TRUSTED_AZIMUTH_DEG - azimuth_deg.abs()) * torch.sigmoid(
            TRUSTED_ELEVATION_DEG - elevation_deg.abs()
        )
