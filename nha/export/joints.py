"""The joints of posed heads, and the way back from posed vertices to the rest pose."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nha.core.types import HeadParams
from nha.head import joint_limits, lbs
from nha.head.model import HeadModel


@dataclass(frozen=True)
class Joints:
    """The joints of N posed heads.

    Attributes:
        rotations: [N, 5, 3, 3], each relative to its parent.
        rest: [N, 5, 3] metres, in the head model's coordinates.
        world_from_rest: [N, 5, 3, 4], x_world = R x_rest + t, the root's translation included.
    """

    rotations: Tensor
    rest: Tensor
    world_from_rest: Tensor


def posed_joints(head: HeadModel, params: HeadParams) -> Joints:
    """The joints of N heads with corrected parameters, in double precision. `docs/method.md`, section 1."""
    p = HeadParams(**{name: value.double() for name, value in vars(params).items()})
    rotations = lbs.joint_rotations(
        p.rotation,
        joint_limits.neck_angles(p.neck),
        joint_limits.jaw_angles(p.jaw),
        joint_limits.eyes_angles(p.eyes),
    )
    coefficients = torch.cat([p.shape, p.expr], 1)
    rest = head.joint_template + torch.tensordot(coefficients, head.joint_directions.double(), 1)
    world_from_rest = lbs.joint_transforms(rotations, rest, head.joint_parents)
    shift = (p.translation - rest[:, 0])[:, None, :, None]
    return Joints(
        rotations, rest, torch.cat([world_from_rest[..., :3], world_from_rest[..., 3:] + shift], -1)
    )


def invert_skinning(head: HeadModel, joints: Joints, vertices: Tensor) -> Tensor:
    """Vertices before skinning, correctives and offsets included: posed [N, V, 3] to rest pose [N, V, 3], double."""
    weights = head.skinning_weights[head.kept_vertices].double()
    blended = lbs.blend_transforms(joints.world_from_rest, weights)
    return torch.linalg.solve(blended[..., :3], (vertices.double() - blended[..., 3])[..., None])[..., 0]
