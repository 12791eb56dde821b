"""Choosing the frames that decide identity, albedo, light and camera."""

from __future__ import annotations

import torch
from torch import Tensor

from nha.core.rotations import rotation_matrix

_FACING_CAMERA = (0.0, torch.pi, 0.0)
# How many degrees of turning a face height of mouth opening, and other movement of the face, is worth.
_DEGREES_PER_MOVEMENT = 150.0


def head_angles_deg(rotation: Tensor) -> Tensor:
    """Yaw and pitch of heads relative to facing the camera: axis-angle [F, 3] to degrees [F, 2]."""
    relative = rotation_matrix(rotation) @ rotation_matrix(torch.tensor(_FACING_CAMERA).to(rotation)).mT
    forward = relative[..., 2]  # where the camera's axis is carried to
    yaw = torch.atan2(forward[:, 0], forward[:, 2])
    pitch = torch.asin(forward[:, 1].clamp(-1, 1))
    return torch.rad2deg(torch.stack([yaw, pitch], 1))


def choose_keyframes(rotation: Tensor, opening: Tensor, usable: Tensor, count: int) -> list[int]:
    """Rows of frames that spread in yaw, pitch and mouth opening, the most frontal and closed one first.

    rotation: [F, 3]; opening: [F] of the mouth, in face heights; usable: bool [F]. Farthest-point sampling:
    each further frame is the one farthest from all that were chosen.
    """
    features = torch.cat([head_angles_deg(rotation), _DEGREES_PER_MOVEMENT * opening[:, None]], 1)
    typical = features[usable].median(0).values
    frontal = features.clone()
    frontal[:, 2] -= features[usable, 2].min()
    # an unusual pitch is judged against the video's own: cameras stand high or low
    frontal[:, 1] -= typical[1]
    distance_to_rest = torch.linalg.vector_norm(frontal, dim=1).masked_fill(~usable, torch.inf)
    chosen = [int(distance_to_rest.argmin())]
    while len(chosen) < min(count, int(usable.sum())):
        apart = torch.cdist(features, features[chosen]).amin(1).masked_fill(~usable, -1.0)
        apart[chosen] = -1.0
        chosen.append(int(apart.argmax()))
    return chosen
