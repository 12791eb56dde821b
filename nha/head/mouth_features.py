"""The texture network's condition: distances at the mouth and the head's rotation (`docs/method.md`, section 1)."""

from __future__ import annotations

import torch
from torch import Tensor

from nha.core.rotations import rotation_matrix, rotation_vector
from nha.head.joint_limits import neck_angles

N_ROTATION_FEATURES = 3


def mouth_distances(vertices: Tensor, pairs: Tensor, minimum: Tensor, maximum: Tensor) -> Tensor:
    """Distances between vertex pairs, scaled so that their usual range becomes -1..1.

    Args:
        vertices: [N, V, 3] metres.
        pairs: [M, 2] vertex ids.
        minimum, maximum: [M] metres, the usual range.

    Returns:
        [N, M].
    """
    ends = vertices[:, pairs]
    distance = torch.linalg.vector_norm(ends[:, :, 0] - ends[:, :, 1], dim=-1)
    return (distance - minimum) / (maximum - minimum) * 2 - 1


def head_rotation_vector(rotation: Tensor, neck: Tensor) -> Tensor:
    """Rotation vector of the head: the global rotation times the neck's.

    Args:
        rotation: [N, 3] axis-angle in radians.
        neck: [N, 3] unbounded parameters.

    Returns:
        [N, 3] axis-angle, its length in 0..pi.
    """
    of_root, of_neck = rotation_matrix(torch.stack([rotation, neck_angles(neck)])).unbind()
    return rotation_vector(of_root @ of_neck)


def soft_clip_rotation(features: Tensor, sigma: float) -> Tensor:
    """Compress the three rotation features at the end of [N, M + 3] to tanh(x / (pi/4) * sigma).

    Args:
        features: [N, M + 3] mouth distances and rotation vector.
        sigma: the steepness; features are returned unchanged for sigma <= 0.
    """
    if sigma <= 0:
        return features
    distances, rotation = features.split([features.shape[1] - N_ROTATION_FEATURES, N_ROTATION_FEATURES], 1)
    return torch.cat([distances, torch.tanh(rotation / (torch.pi / 4) * sigma)], 1)
