"""The head's landmarks and their derivatives by all parameters, from the few vertices that they need."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from nha.core.conventions import N_LANDMARKS
from nha.head import joint_limits, lbs
from nha.head.model import HeadModel

# rotation, translation, neck, jaw, eyes, in this order
POSE_WIDTHS = (3, 3, 3, 3, 6)
N_POSE = sum(POSE_WIDTHS)


@dataclass(frozen=True)
class LinearisedLandmarks:
    """points: [N, 70, 3] metres, world; by_coefficients: [N, 70, 3, K]; by_pose: [N, 70, 3, 18]."""

    points: Tensor
    by_coefficients: Tensor
    by_pose: Tensor


class LandmarkModel:
    """Landmarks as a function of blendshape coefficients [N, K] (shape, then expression) and pose [N, 18].

    Corners of the landmarks' faces are linear in the coefficients until they are skinned, and skinning is
    linear in the corners. The derivative by the coefficients is therefore a product of known matrices, and
    only pose and joints (33 directions) need automatic differentiation.
    """

    def __init__(self, head: HeadModel) -> None:
        # on the CPU: the problem is small, its solver is all small matrices
        head = copy.deepcopy(head).cpu()
        corners = head.kept_vertices[head.landmark_corners.reshape(-1)]
        # everything is taken relative to the root joint, which is where the head's position is
        root, root_directions = head.joint_template[:1], head.joint_directions[:, :1]
        self.template = head.template[corners] - root  # [210, 3]
        self.directions = head.directions[corners] - root_directions.permute(1, 2, 0)  # [210, 3, K]
        self.pose_directions = head.pose_directions[corners]
        self.skinning_weights = head.skinning_weights[corners]
        self.joint_template = head.joint_template - root  # [5, 3]
        self.joint_directions = head.joint_directions - root_directions  # [K, 5, 3]
        self.joint_parents = head.joint_parents
        self.barycentric = head.landmark_barycentric  # [70, 3]
        self.n_shape = head.n_shape

    def points(self, coefficients: Tensor, pose: Tensor) -> Tensor:
        """Landmarks [N, 70, 3] metres, world."""
        return self._skinned(self._rest(coefficients), self._joints(coefficients), pose)[0]

    def linearised(self, coefficients: Tensor, pose: Tensor, columns: Tensor) -> LinearisedLandmarks:
        """Landmarks with their derivatives; K are the coefficients `columns`."""
        rest, joints = self._rest(coefficients), self._joints(coefficients)
        points, blended = self._skinned(rest, joints, pose)

        def of_joints_and_pose(rest_row: Tensor, joints_row: Tensor, pose_row: Tensor) -> Tensor:
            return self._skinned(rest_row[None], joints_row[None], pose_row[None])[0][0]

        by_joints, by_pose = torch.func.vmap(torch.func.jacfwd(of_joints_and_pose, argnums=(1, 2)))(
            rest, joints, pose
        )
        # corner c moves its landmark by its barycentric weight times its own rotation
        n = len(rest)
        corner_rotation = blended[..., :3] * self.barycentric.reshape(-1, 1, 1)  # [N, 210, 3, 3]
        by_rest = (corner_rotation @ self.directions[..., columns]).view(n, N_LANDMARKS, 3, 3, -1).sum(2)
        through_joints = by_joints.flatten(-2) @ self.joint_directions[columns].flatten(1).mT
        return LinearisedLandmarks(points, by_rest + through_joints, by_pose)

    def _rest(self, coefficients: Tensor) -> Tensor:
        return self.template + torch.einsum("nk,vck->nvc", coefficients, self.directions)

    def _joints(self, coefficients: Tensor) -> Tensor:
        return self.joint_template + torch.tensordot(coefficients, self.joint_directions, 1)

    def _skinned(self, rest: Tensor, joints: Tensor, pose: Tensor) -> tuple[Tensor, Tensor]:
        """Landmarks [N, 70, 3] and the corners' transforms [N, 210, 3, 4]."""
        rotation, translation, neck, jaw, eyes = pose.split(POSE_WIDTHS, 1)
        rotations = lbs.joint_rotations(
            rotation,
            joint_limits.neck_angles(neck),
            joint_limits.jaw_angles(jaw),
            joint_limits.eyes_angles(eyes),
        )
        transforms = lbs.joint_transforms(rotations, joints, self.joint_parents)
        corrective = torch.einsum("nk,vck->nvc", lbs.pose_feature(rotations), self.pose_directions)
        blended = lbs.blend_transforms(transforms, self.skinning_weights)
        corners = lbs.transform_points(blended, rest + corrective) + translation[:, None]
        points = (corners.unflatten(1, (N_LANDMARKS, 3)) * self.barycentric[..., None]).sum(2)
        return points, blended
