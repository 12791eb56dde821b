"""The head's joints and pose correctives as functions of coefficients and pose, with derivatives."""

from __future__ import annotations

import torch
from torch import Tensor

from nha.head import joint_limits, lbs
from nha.head.model import HeadModel

_DIFFERENCE_STEP = 1e-5
# rotation, translation, neck, jaw, eyes, in this order
POSE_WIDTHS = (3, 3, 3, 3, 6)
TRANSLATION = slice(POSE_WIDTHS[0], POSE_WIDTHS[0] + POSE_WIDTHS[1])


class HeadRig:
    """Joint transforms and the factors of the pose correctives, relative to the root joint.

    The root joint's position is the head's translation. All tables are on the CPU: the problems are small, and their
    solver uses many small matrices.

    Attributes:
        template: [V, 3] metres.
        directions: [V, 3, K] of shape and expression.
        pose_directions: [V, 3, 36].
        skinning_weights: [V, 5].
    """

    def __init__(self, head: HeadModel) -> None:
        kept = head.kept_vertices
        root, root_directions = head.joint_template[:1], head.joint_directions[:, :1]
        self.template = (head.template[kept] - root).cpu()
        self.directions = (head.directions[kept] - root_directions.permute(1, 2, 0)).cpu()
        self.pose_directions = head.pose_directions[kept].cpu()
        self.skinning_weights = head.skinning_weights[kept].cpu()
        self.joint_template = (head.joint_template - root).cpu()  # [5, 3]
        self.joint_directions = (head.joint_directions - root_directions).cpu()  # [K, 5, 3]
        self.joint_parents = head.joint_parents
        self.n_shape, self.n_expr = head.n_shape, head.n_expr

    def joints(self, coefficients: Tensor) -> Tensor:
        """Positions [N, 5, 3] of the resting head's joints for coefficients [N, K]."""
        return self.joint_template + torch.tensordot(coefficients, self.joint_directions, 1)

    def pose(self, joints: Tensor, pose: Tensor) -> tuple[Tensor, Tensor]:
        """The joints' transforms [N, 5, 3, 4] and the factors [N, 36] of the pose correctives."""
        rotation, _, neck, jaw, eyes = pose.split(POSE_WIDTHS, 1)
        rotations = lbs.joint_rotations(
            rotation,
            joint_limits.neck_angles(neck),
            joint_limits.jaw_angles(jaw),
            joint_limits.eyes_angles(eyes),
        )
        return lbs.joint_transforms(rotations, joints, self.joint_parents), lbs.pose_feature(rotations)

    def derivatives(self, joints: Tensor, pose: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Transforms by joints [N, 5, 3, 4, 15] and by pose [N, 5, 3, 4, 18], feature by pose [N, 36, 18].

        Central differences in float64, exact to nine digits; the rig is so small that they cost less than
        automatic differentiation.
        """
        n, n_joints = len(pose), joints.shape[1] * 3
        inputs = torch.cat([joints.flatten(1), pose], 1).double()  # [N, 33]
        steps = _DIFFERENCE_STEP * torch.eye(inputs.shape[1], dtype=inputs.dtype)

        def rig(moved: Tensor) -> tuple[Tensor, Tensor]:  # [N, 33, 33] -> [N, 33, 5, 3, 4] and [N, 33, 36]
            rows = moved.flatten(0, 1)
            transforms, feature = self.pose(rows[:, :n_joints].unflatten(1, (-1, 3)), rows[:, n_joints:])
            return transforms.unflatten(0, (n, -1)), feature.unflatten(0, (n, -1))

        (plus, plus_feature), (minus, minus_feature) = (
            rig(inputs[:, None] + steps),
            rig(inputs[:, None] - steps),
        )
        by_input = ((plus - minus) / (2 * _DIFFERENCE_STEP)).float().movedim(1, -1)
        feature_by_pose = ((plus_feature - minus_feature)[:, n_joints:] / (2 * _DIFFERENCE_STEP)).float().mT
        return by_input[..., :n_joints], by_input[..., n_joints:], feature_by_pose
