"""Choosing frames: keyframes that decide identity, albedo, light and camera, and frames evenly spaced in time."""

from __future__ import annotations

import torch
from torch import Tensor

from nha.core.rotations import rotation_matrix

_FACING_CAMERA = (0.0, torch.pi, 0.0)
# The mouth opening of one face height counts as much as this head rotation.
_DEGREES_PER_OPENING = 150.0


def head_angles_deg(rotation: Tensor) -> Tensor:
    """Yaw and pitch of heads relative to facing the camera.

    Args:
        rotation: [F, 3] axis-angle in radians.

    Returns:
        [F, 2] degrees.
    """
    relative = rotation_matrix(rotation) @ rotation_matrix(torch.tensor(_FACING_CAMERA).to(rotation)).mT
    forward = relative[..., 2]  # the camera's axis, rotated with the head
    yaw = torch.atan2(forward[:, 0], forward[:, 2])
    pitch = torch.asin(forward[:, 1].clamp(-1, 1))
    return torch.rad2deg(torch.stack([yaw, pitch], 1))


def choose_keyframes(rotation: Tensor, mouth_opening: Tensor, usable: Tensor, count: int) -> list[int]:
    """Frames that differ most in yaw, pitch and mouth opening, by farthest-point sampling.

    Args:
        rotation: [F, 3] axis-angle in radians.
        mouth_opening: [F] in face heights.
        usable: bool [F], the candidates; at least one.
        count: how many frames to choose, at most.

    Returns:
        Row numbers, the most frontal frame with a closed mouth first.
    """
    features = torch.cat([head_angles_deg(rotation), _DEGREES_PER_OPENING * mouth_opening[:, None]], 1)
    frontal = features.clone()
    frontal[:, 2] -= features[usable, 2].min()
    # the camera may stand high or low: pitch counts from the video's usual one
    frontal[:, 1] -= features[usable].median(0).values[1]
    distance_to_frontal = torch.linalg.vector_norm(frontal, dim=1).masked_fill(~usable, torch.inf)
    chosen = [int(distance_to_frontal.argmin())]
    while len(chosen) < min(count, int(usable.sum())):
        distance = torch.cdist(features, features[chosen]).amin(1).masked_fill(~usable, -1.0)
        distance[chosen] = -1.0
        chosen.append(int(distance.argmax()))
    return chosen


def evenly_spaced(rows: list[int], count: int) -> list[int]:
    """At most `count` of the rows, at even distances."""
    places = torch.linspace(0, len(rows) - 1, min(len(rows), count)).round().int()
    return [rows[place] for place in places.tolist()]
