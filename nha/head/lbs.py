"""Linear blend skinning as pure functions (`docs/method.md`, section 1)."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from nha.core.constants import constant
from nha.core.rotations import IDENTITY, rotation_matrix


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
    return (rotations[:, 1:] - constant(IDENTITY, rotations)).flatten(1)


def joint_transforms(rotations: Tensor, joints: Tensor, parents: tuple[int, ...]) -> Tensor:
    """The map from the neutral pose to the posed head for each joint. The root joint keeps its position.

    Args:
        rotations: [N, J, 3, 3] relative to the parent joint.
        joints: [N, J, 3] positions in the neutral pose, metres.
        parents: J ids, `parents[0]` is -1.

    Returns:
        [N, J, 3, 4], rotation R and translation t of x -> R x + t.
    """
    # joints with one parent are computed together, because each operation costs a launch
    siblings = [
        list(group) for _, group in itertools.groupby(range(1, len(parents)), key=parents.__getitem__)
    ]
    bones = joints[:, 1:] - joints.index_select(1, constant(tuple(parents[1:]), joints, torch.long))
    sizes = [1, *map(len, siblings)]
    own, bones = rotations.split(sizes, 1), bones.split(sizes[1:], 1)
    chain_rotation, chain_position = [own[0]], [joints[:, :1]]
    place = {0: (0, 0)}  # joint -> its group, and its place there
    for group, members in enumerate(siblings, start=1):
        parent_group, i = place[parents[members[0]]]
        parent_rotation = chain_rotation[parent_group][:, i : i + 1]
        parent_position = chain_position[parent_group][:, i : i + 1]
        turned = torch.einsum("nkij,nkj->nki", parent_rotation.expand_as(own[group]), bones[group - 1])
        chain_rotation.append(parent_rotation @ own[group])
        chain_position.append(turned + parent_position)
        place |= {joint: (group, k) for k, joint in enumerate(members)}
    rotation, position = torch.cat(chain_rotation, 1), torch.cat(chain_position, 1)
    translation = position - torch.einsum("njkl,njl->njk", rotation, joints)
    return torch.cat([rotation, translation[..., None]], -1)


def blend_transforms(transforms: Tensor, weights: Tensor) -> Tensor:
    """Transforms of the vertices: [N, J, 3, 4] of the joints and skinning weights [V, J] give [N, V, 3, 4]."""
    return (weights @ transforms.flatten(2)).unflatten(2, (3, 4))


def transform_points(transforms: Tensor, points: Tensor) -> Tensor:
    """Apply transforms [N, V, 3, 4] to points [N, V, 3]; returns [N, V, 3]."""
    return (transforms[..., :3] * points[..., None, :]).sum(-1) + transforms[..., 3]
