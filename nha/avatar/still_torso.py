"""Head rotations as rotations of the neck, so that the torso, and with it the neck's lower rim, stays still.

Trackers put the rotation of the head into that of the root joint, about which the whole mesh turns, and hardly use the
neck. In a video the torso is still and the neck turns. Here the neck gets the rotation of the head to the camera, and
the root joint the rest; the skull stays where it was. `docs/method.md`, section 3.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nha.avatar.drive import FACING_CAMERA
from nha.core.constants import constant
from nha.core.rotations import rotation_matrix, rotation_vector
from nha.core.types import Camera, HeadParams
from nha.head.joint_limits import NECK_LIMITS_DEG, neck_angles, params_from_angles
from nha.head.model import HeadModel

# Radians of head rotation up to which the torso is still, and from which on it follows the head.
_STILL_UNTIL, _FOLLOWS_FROM = math.radians(45.0), math.radians(120.0)
_ROOT, _NECK = 0, 1


def with_still_torso(
    head: HeadModel, params: HeadParams, torso_rotation: Tensor, own_neck: Tensor | None = None
) -> HeadParams:
    """The same poses of the skull, with its rotation relative to the torso in the neck joint.

    Args:
        head: the head model.
        params: N sets of parameters; `rotation` and `neck` together rotate the skull.
        torso_rotation: [3, 3], the rotation of the root joint that is kept.
        own_neck: [N, 3] added to the unbounded parameters of the neck; turns the torso below the skull.

    Returns:
        N sets of parameters; rotation, translation and neck differ.
    """
    world_from_root = rotation_matrix(params.rotation)
    world_from_skull = world_from_root @ rotation_matrix(neck_angles(params.neck))
    turned = rotation_vector(torso_rotation.mT @ world_from_skull)
    neck = params_from_angles(turned * _share_of_neck(turned), NECK_LIMITS_DEG)
    if own_neck is not None:
        neck = neck + own_neck
    world_from_torso = world_from_skull @ rotation_matrix(neck_angles(neck)).mT
    bone = _neck_bone(head, params)
    shift = ((world_from_root - world_from_torso) @ bone[:, :, None]).squeeze(2)
    rotation = _nearest_vector(rotation_vector(world_from_torso), params.rotation)
    return params.replace(rotation=rotation, neck=neck, translation=params.translation + shift)


def _nearest_vector(vector: Tensor, reference: Tensor) -> Tensor:
    """The rotation vectors [N, 3] of the same rotations that point to the side of `reference` [N, 3].

    Heads that face the camera are turned by pi, where a rotation has two vectors; differences of poses need the same.
    """
    angle = torch.linalg.vector_norm(vector.detach(), dim=1, keepdim=True)
    opposite = ((vector * reference).sum(1, keepdim=True) < 0) & (angle > math.pi / 2)
    return torch.where(opposite, vector * (1 - 2 * math.pi / angle.clamp_min(1)), vector)


def facing_camera(camera: Camera) -> Tensor:
    """The rotations [N, 3, 3] of heads that look at N cameras."""
    rotation = camera.extrinsics[:, :, :3]
    return rotation @ rotation_matrix(constant((FACING_CAMERA,), rotation))


def _share_of_neck(turned: Tensor) -> Tensor:
    """The share [N, 1] of a rotation vector [N, 3] that the neck takes: 1 for small rotations, 0 for large ones."""
    angle = torch.linalg.vector_norm(turned.detach(), dim=1, keepdim=True)
    t = ((angle - _STILL_UNTIL) / (_FOLLOWS_FROM - _STILL_UNTIL)).clamp(0, 1)
    return (1 + torch.cos(math.pi * t)) / 2


def _neck_bone(head: HeadModel, params: HeadParams) -> Tensor:
    """[N, 3] metres from the root joint to the neck joint of N identities in rest."""
    coefficients = torch.cat([params.shape, params.expr], 1)
    joints = head.joint_template[[_ROOT, _NECK]] + torch.tensordot(
        coefficients, head.joint_directions[:, [_ROOT, _NECK]], 1
    )
    return joints[:, 1] - joints[:, 0]
