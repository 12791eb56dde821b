"""Linear blend skinning as pure functions. Method, section 1."""

from __future__ import annotations

import torch
from torch import Tensor

from nha.core.rotations import rotation_matrix


def joint_rotations(rotation: Tensor, neck: Tensor, jaw: Tensor, eyes: Tensor) -> Tensor:
    """Rotation matrices of the five joints.

    rotation, neck, jaw: [N, 3] and eyes: [N, 6] axis-angle in radians. Returns [N, 5, 3, 3].
    """
    return rotation_matrix(torch.cat([rotation, neck, jaw, eyes], 1).unflatten(1, (5, 3)))


def pose_feature(rotations: Tensor) -> Tensor:
    """The four non-root rotations minus identity, flattened: [N, 5, 3, 3] gives [N, 36]."""
    identity = torch.eye(3, dtype=rotations.dtype, device=rotations.device)
    return (rotations[:, 1:] - identity).flatten(1)


def joint_transforms(rotations: Tensor, joints: Tensor, parents: tuple[int, ...]) -> Tensor:
    """Maps of the rest pose to the posed one, one per joint; the root joint stays where it rests.

    rotations: [N, J, 3, 3]; joints: [N, J, 3] rest positions; parents[0] is -1. Returns [N, J, 3, 4]: R and t
    of x -> R x + t.
    """
    chain = [(rotations[:, 0], joints[:, 0])]
    for j in range(1, len(parents)):
        parent_rotation, parent_position = chain[parents[j]]
        bone = joints[:, j] - joints[:, parents[j]]
        position = torch.einsum("nij,nj->ni", parent_rotation, bone) + parent_position
        chain.append((parent_rotation @ rotations[:, j], position))
    rotation = torch.stack([r for r, _ in chain], 1)
    position = torch.stack([p for _, p in chain], 1)
    translation = position - torch.einsum("njkl,njl->njk", rotation, joints)
    return torch.cat([rotation, translation[..., None]], -1)


def blend_transforms(transforms: Tensor, weights: Tensor) -> Tensor:
    """Per-vertex transforms: [N, J, 3, 4] and skinning weights [V, J] give [N, V, 3, 4]."""
    return (weights @ transforms.flatten(2)).unflatten(2, (3, 4))


def transform_points(transforms: Tensor, points: Tensor) -> Tensor:
    """Apply [N, V, 3, 4] to [N, V, 3]; returns [N, V, 3]."""
    return (transforms[..., :3] * points[..., None, :]).sum(-1) + transforms[..., 3]
