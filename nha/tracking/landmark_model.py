"""The head's landmarks and their derivatives by all parameters, from the 210 vertices that they need."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from nha.core.conventions import N_LANDMARKS
from nha.head import joint_limits, lbs
from nha.head.model import HeadModel

_DIFFERENCE_STEP = 1e-5
# rotation, translation, neck, jaw, eyes, in this order
POSE_WIDTHS = (3, 3, 3, 3, 6)


@dataclass(frozen=True)
class LinearisedLandmarks:
    """Landmarks of N frames and their derivatives.

    Attributes:
        points: [N, 70, 3] metres, world.
        by_coefficients: [N, 70, 3, K].
        by_pose: [N, 70, 3, 18].
    """

    points: Tensor
    by_coefficients: Tensor
    by_pose: Tensor


class LandmarkModel:
    """Landmarks as a function of coefficients [N, K] and pose [N, 18].

    The coefficients are those of shape and expression, then 3 x 70 offsets (metres, in the resting head's axes), one
    for each landmark: detectors define landmarks differently from the head model.

    The corners of the landmarks' faces are linear in the coefficients until they are skinned, and skinning is linear
    in the corners and in the joints' transforms. All large derivatives are therefore products of known matrices; only
    the five transforms and the factors of the pose correctives are differentiated numerically.
    """

    def __init__(self, head: HeadModel) -> None:
        # on the CPU: the problem is small, and its solver uses many small matrices
        head = copy.deepcopy(head).cpu()
        corners = head.kept_vertices[head.landmark_corners.reshape(-1)]
        # everything is relative to the root joint, whose position is the head's translation
        root, root_directions = head.joint_template[:1], head.joint_directions[:, :1]
        self.template = head.template[corners] - root  # [210, 3]
        directions = head.directions[corners] - root_directions.permute(1, 2, 0)
        offsets = torch.eye(3 * N_LANDMARKS).view(N_LANDMARKS, 3, -1).repeat_interleave(3, 0)
        self.directions = torch.cat([directions, offsets], 2)  # [210, 3, K]
        self.pose_directions = head.pose_directions[corners]  # [210, 3, 36]
        self.skinning_weights = head.skinning_weights[corners]  # [210, 5]
        self.joint_template = head.joint_template - root  # [5, 3]
        joint_directions = head.joint_directions - root_directions
        unmoved = joint_directions.new_zeros(3 * N_LANDMARKS, *joint_directions.shape[1:])
        self.joint_directions = torch.cat([joint_directions, unmoved])  # [K, 5, 3]
        self.joint_parents = head.joint_parents
        self.barycentric = head.landmark_barycentric.reshape(-1, 1)  # [210, 1]
        self.n_shape, self.n_expr = head.n_shape, head.n_expr

    @property
    def n_coefficients(self) -> int:
        """K."""
        return self.directions.shape[-1]

    def points(self, coefficients: Tensor, pose: Tensor) -> Tensor:
        """Landmarks [N, 70, 3] metres, world."""
        rest, joints = self._rest(coefficients), self._joints(coefficients)
        transforms, feature = self._rig(joints, pose)
        corners = self._corrected(rest, feature)
        return self._skinned(corners, lbs.blend_transforms(transforms, self.skinning_weights), pose)

    def linearised(self, coefficients: Tensor, pose: Tensor, columns: Tensor) -> LinearisedLandmarks:
        """Landmarks with their derivatives; K is the number of coefficients listed in `columns`."""
        rest, joints = self._rest(coefficients), self._joints(coefficients)
        transforms, feature = self._rig(joints, pose)
        corners = self._corrected(rest, feature)
        blended = lbs.blend_transforms(transforms, self.skinning_weights)
        by_joints, by_pose, feature_by_pose = self._rig_derivatives(joints, pose)

        # a corner moves its landmark by its barycentric weight times its own rotation
        rotated = blended[..., :3] * self.barycentric[..., None]  # [N, 210, 3, 3]
        by_rest = _rotate_directions(rotated, self.directions[..., columns])
        by_feature = _rotate_directions(rotated, self.pose_directions)
        # a transform [3, 4] moves a landmark by the weighted homogeneous corners
        homogeneous = torch.cat([corners, torch.ones_like(corners[..., :1])], 2)
        weighted = (self.barycentric * self.skinning_weights)[..., None] * homogeneous[:, :, None]
        weighted = _over_corners(weighted)  # [N, 70, 5, 4]
        through_joints = torch.einsum("nljh,njchm->nlcm", weighted, by_joints)
        through_joints = through_joints @ self.joint_directions[columns].flatten(1).mT
        through_pose = torch.einsum("nljh,njchp->nlcp", weighted, by_pose)
        through_pose = through_pose + (by_feature.flatten(1, 2) @ feature_by_pose).view_as(through_pose)
        through_pose[..., 3:6] += torch.eye(3)
        return LinearisedLandmarks(
            self._skinned(corners, blended, pose), by_rest + through_joints, through_pose
        )

    def _rest(self, coefficients: Tensor) -> Tensor:
        return self.template + torch.einsum("nk,vck->nvc", coefficients, self.directions)

    def _joints(self, coefficients: Tensor) -> Tensor:
        return self.joint_template + torch.tensordot(coefficients, self.joint_directions, 1)

    def _corrected(self, rest: Tensor, feature: Tensor) -> Tensor:
        return rest + torch.einsum("nk,vck->nvc", feature, self.pose_directions)

    def _rig(self, joints: Tensor, pose: Tensor) -> tuple[Tensor, Tensor]:
        """The joints' transforms [N, 5, 3, 4] and the factors [N, 36] of the pose correctives."""
        rotation, _, neck, jaw, eyes = pose.split(POSE_WIDTHS, 1)
        rotations = lbs.joint_rotations(
            rotation,
            joint_limits.neck_angles(neck),
            joint_limits.jaw_angles(jaw),
            joint_limits.eyes_angles(eyes),
        )
        return lbs.joint_transforms(rotations, joints, self.joint_parents), lbs.pose_feature(rotations)

    def _rig_derivatives(self, joints: Tensor, pose: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Transforms by joints [N, 5, 3, 4, 15] and by pose [N, 5, 3, 4, 18], feature by pose [N, 36, 18].

        Central differences in float64, exact to nine digits; the rig is so small that they cost less than
        automatic differentiation.
        """
        n, n_joints = len(pose), joints.shape[1] * 3
        inputs = torch.cat([joints.flatten(1), pose], 1).double()  # [N, 33]
        steps = _DIFFERENCE_STEP * torch.eye(inputs.shape[1], dtype=inputs.dtype)

        def rig(moved: Tensor) -> tuple[Tensor, Tensor]:  # [N, 33, 33] -> [N, 33, 5, 3, 4] and [N, 33, 36]
            rows = moved.flatten(0, 1)
            transforms, feature = self._rig(rows[:, :n_joints].unflatten(1, (-1, 3)), rows[:, n_joints:])
            return transforms.unflatten(0, (n, -1)), feature.unflatten(0, (n, -1))

        (plus, plus_feature), (minus, minus_feature) = (
            rig(inputs[:, None] + steps),
            rig(inputs[:, None] - steps),
        )
        by_input = ((plus - minus) / (2 * _DIFFERENCE_STEP)).float().movedim(1, -1)
        feature_by_pose = ((plus_feature - minus_feature)[:, n_joints:] / (2 * _DIFFERENCE_STEP)).float().mT
        return by_input[..., :n_joints], by_input[..., n_joints:], feature_by_pose

    def _skinned(self, corners: Tensor, blended: Tensor, pose: Tensor) -> Tensor:
        translation = pose[:, None, POSE_WIDTHS[0] : POSE_WIDTHS[0] + POSE_WIDTHS[1]]
        return _over_corners(lbs.transform_points(blended, corners) * self.barycentric) + translation


def _over_corners(values: Tensor) -> Tensor:
    """Sum over the three corners of each landmark's face: [N, 210, ...] to [N, 70, ...]."""
    return values.unflatten(1, (N_LANDMARKS, 3)).sum(2)


def _rotate_directions(rotated: Tensor, directions: Tensor) -> Tensor:
    """Rotations [N, 210, 3, 3] times directions [210, 3, K], summed over corners: [N, 70, 3, K]."""
    n, k = len(rotated), directions.shape[-1]
    left = rotated.view(n, N_LANDMARKS, 3, 3, 3).permute(1, 0, 3, 2, 4).reshape(N_LANDMARKS, n * 3, 9)
    right = directions.reshape(N_LANDMARKS, 9, k)
    return (left @ right).view(N_LANDMARKS, n, 3, k).transpose(0, 1)
