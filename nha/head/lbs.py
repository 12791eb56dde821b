"""Linear blend skinning as pure functions (`docs/method.md`, section 1)."""

from __future__ import annotations

import torch
from torch import Tensor

from nha.core.rotations import rotation_matrix


def joint_rotations(rotation: Tensor, neck: Tensor, jaw: Tensor, eyes: Tensor) -> Tensor:
    """Rotation matrices of the five joints root, neck, jaw, left eye, right eye.

    Args:
        rotation: [N, 3] axis-angle of the root in radians.
        neck, jaw: [N, 3] axis-angle in radians.
        eyes: [N, 6] axis-angle in radians, left then right.

    Returns:
        [N, 5, 3, 3].
    """
    return rotation_matrix(torch.cat([rotation, neck, jaw, eyes], 1).unflatten(1, (5, 3)))


def pose_feature(rotations: Tensor) -> Tensor:
    """The four non-root rotations minus the identity, flattened row by row: [N, 5, 3, 3] gives [N, 36]."""
    identity = torch.eye(3, dtype=rotations.dtype, device=rotations.device)
    return (rotations[:, 1:] - identity).flatten(1)


def joint_transforms(rotations: Tensor, joints: Tensor, parents: tuple[int, ...]) -> Tensor:
    """The map from the neutral pose to the posed head for each joint. The root joint keeps its position.

    Args:
        rotations: [N, J, 3, 3] relative to the parent joint.
        joints: [N, J, 3] positions in the neutral pose, metres.
        parents: J ids, `parents[0]` is -1.

    Returns:
        [N, J, 3, 4], rotation R and translation t of x -> R x + t.
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
    """Transforms of the vertices: [N, J, 3, 4] of the joints and skinning weights [V, J] give [N, V, 3, 4]."""
    return (weights @ transforms.flatten(2)).unflatten(2, (3, 4))


def transform_points(transforms: Tensor, points: Tensor) -> Tensor:
    """Apply transforms [N, V, 3, 4] to points [N, V, 3]; returns [N, V, 3]."""
    return (transforms[..., :3] * points[..., None, :]).sum(-1) + transforms[..., 3]
