"""Posing one identity again and again without gradient, as viewers, videos and live driving do.

Three quarters of the blendshapes are those of the identity, which does not change from image to image. Their sum is
kept. `HeadModel.pose` is the reference; results differ by rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nha.core.derived import Derived
from nha.core.device import float32_products
from nha.core.types import HeadParams
from nha.head import lbs
from nha.head.joint_rotations import joint_rotations
from nha.head.model import HeadModel, PosedHead


@dataclass(frozen=True)
class _Identity:
    """A head without expression: its coefficients [K], rest vertices [V * 3] and joints [J, 3] in metres."""

    coefficients: Tensor
    rest: Tensor
    joints: Tensor


class QuickPose:
    """Poses heads with offsets in the rest pose; keeps tables of one head model."""

    def __init__(self) -> None:
        self._tables = Derived()
        self._identity: _Identity | None = None

    @torch.no_grad()
    @float32_products()
    def pose(self, head: HeadModel, params: HeadParams, rest_offsets: Tensor) -> PosedHead | None:
        """Pose N heads, as `HeadModel.pose` does; None where they have different identities.

        Args:
            head: the head model, the same at every call.
            params: parameters of N heads.
            rest_offsets: [N, V, 3] metres in the axes of the template, added before skinning.
        """
        if not bool((params.shape == params.shape[:1]).all()):
            return None
        sources = (head.directions, head.pose_directions, head.skinning_weights, head.kept_vertices)
        moving, joint_moving, weights = self._tables.value(sources, lambda: _moving_tables(head))
        identity = self._identity  # read once: another thread may replace it meanwhile
        if identity is None or not torch.equal(identity.coefficients, params.shape[0]):
            identity = self._identity = _identity(head, params.shape[0])
        rotations = joint_rotations(params)
        joints = identity.joints + (params.expr @ joint_moving).unflatten(1, (-1, 3))
        factors = torch.cat([params.expr, lbs.pose_feature(rotations)], 1)
        rest = torch.addmm(identity.rest, factors, moving).unflatten(1, (-1, 3))
        transforms = lbs.joint_transforms(rotations, joints, head.joint_parents)
        blended = lbs.blend_transforms(transforms, weights)
        to_world = params.translation[:, None] - joints[:, :1]
        return PosedHead(
            lbs.transform_points(blended, rest + rest_offsets) + to_world,
            lbs.transform_points(blended, rest) + to_world,
            rotations,
        )


def _moving_tables(head: HeadModel) -> tuple[Tensor, Tensor, Tensor]:
    """Directions of expression and pose of vertices [E + P, V * 3] and joints [E, J * 3]; skinning weights [V, J]."""
    expression = head.directions[head.kept_vertices, :, head.n_shape :]
    both = torch.cat([expression, head.pose_directions[head.kept_vertices]], 2)
    joints = head.joint_directions[head.n_shape :].flatten(1)
    return both.flatten(0, 1).T.contiguous(), joints, head.skinning_weights[head.kept_vertices]


def _identity(head: HeadModel, coefficients: Tensor) -> _Identity:
    shaped = head.template + head.directions[:, :, : head.n_shape] @ coefficients
    rest = shaped[head.kept_vertices].flatten()
    return _Identity(coefficients.clone(), rest, head.joint_regressor @ shaped)
