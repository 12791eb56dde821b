"""The head's landmarks and their derivatives by all parameters, from the 210 vertices that they need."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nha.core.conventions import N_LANDMARKS
from nha.head import lbs
from nha.head.model import HeadModel
from nha.tracking.head_rig import TRANSLATION, HeadRig


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

    def __init__(self, rig: HeadRig, head: HeadModel) -> None:
        self.rig = rig
        corners = head.landmark_corners.cpu().reshape(-1)
        offsets = torch.eye(3 * N_LANDMARKS).view(N_LANDMARKS, 3, -1).repeat_interleave(3, 0)
        self.template = rig.template[corners]  # [210, 3]
        self.directions = torch.cat([rig.directions[corners], offsets], 2)  # [210, 3, K]
        self.pose_directions = rig.pose_directions[corners]  # [210, 3, 36]
        self.skinning_weights = rig.skinning_weights[corners]  # [210, 5]
        self.barycentric = head.landmark_barycentric.cpu().reshape(-1, 1)  # [210, 1]
        unmoved = rig.joint_directions.new_zeros(3 * N_LANDMARKS, *rig.joint_directions.shape[1:])
        self.joint_directions = torch.cat([rig.joint_directions, unmoved])  # [K, 5, 3]
        self.n_shape, self.n_expr = rig.n_shape, rig.n_expr

    @property
    def n_coefficients(self) -> int:
        """K."""
        return self.directions.shape[-1]

    def points(self, coefficients: Tensor, pose: Tensor) -> Tensor:
        """Landmarks [N, 70, 3] metres, world."""
        rest, joints = self._rest(coefficients), self._joints(coefficients)
        transforms, feature = self.rig.pose(joints, pose)
        corners = self._corrected(rest, feature)
        return self._skinned(corners, lbs.blend_transforms(transforms, self.skinning_weights), pose)

    def linearised(self, coefficients: Tensor, pose: Tensor, columns: Tensor) -> LinearisedLandmarks:
        """Landmarks with their derivatives; K is the number of coefficients listed in `columns`."""
        rest, joints = self._rest(coefficients), self._joints(coefficients)
        transforms, feature = self.rig.pose(joints, pose)
        corners = self._corrected(rest, feature)
        blended = lbs.blend_transforms(transforms, self.skinning_weights)
        by_joints, by_pose, feature_by_pose = self.rig.derivatives(joints, pose)

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
        through_pose[..., TRANSLATION] += torch.eye(3)
        return LinearisedLandmarks(
            self._skinned(corners, blended, pose), by_rest + through_joints, through_pose
        )

    def resting_points(self) -> Tensor:
        """Landmarks [70, 3] metres of the mean head at rest."""
        return _over_corners((self.template * self.barycentric)[None])[0]

    def relative_size_by_shape(self) -> Tensor:
        """Derivative of the head's scale by its identity coefficients: [S] float64.

        The scale is that of the least-squares fit of the mean head's vertices to the head's.
        """
        template = self.rig.template.double()
        centred = template - template.mean(0)
        return (
            torch.einsum("vc,vck->k", centred, self.rig.directions[..., : self.n_shape].double())
            / centred.square().sum()
        )

    def _rest(self, coefficients: Tensor) -> Tensor:
        return self.template + torch.einsum("nk,vck->nvc", coefficients, self.directions)

    def _joints(self, coefficients: Tensor) -> Tensor:
        return self.rig.joints(coefficients[:, : self.n_shape + self.n_expr])

    def _corrected(self, rest: Tensor, feature: Tensor) -> Tensor:
        return rest + torch.einsum("nk,vck->nvc", feature, self.pose_directions)

    def _skinned(self, corners: Tensor, blended: Tensor, pose: Tensor) -> Tensor:
        translation = pose[:, None, TRANSLATION]
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
