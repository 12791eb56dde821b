"""Points of the head's surface that belong to points of the image, as residuals of the least-squares stages.

They are found by `outline_match.py`. A residual is the signed distance of a projected point x to the line through its
target q with normal d, in units of its standard deviation: d . (project(x) - q) / sigma.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from nha.head import lbs
from nha.tracking.head_rig import TRANSLATION, HeadRig
from nha.tracking.least_squares import Linearised
from nha.tracking.reprojection import HUBER, MIN_DEPTH_METRES, project_from_centre


@dataclass(frozen=True)
class SurfaceTargets:
    """P points of the mesh in each of N frames, and where they should be in the image.

    Attributes:
        corners: [N, P, 3] vertex ids of the points' faces.
        barycentric: [N, P, 3] the points' positions in their faces.
        target_px: [N, P, 2] from the image's centre, x right and y down.
        direction: [N, P, 2] unit vectors along which the distance counts.
        inverse_sigma: [N, P] 1 over the standard deviation in pixels, 0 for points that do not count.
    """

    corners: Tensor
    barycentric: Tensor
    target_px: Tensor
    direction: Tensor
    inverse_sigma: Tensor

    def __len__(self) -> int:
        return len(self.corners)

    @classmethod
    def stack(cls, frames: Sequence[SurfaceTargets]) -> SurfaceTargets:
        """Those of several frames; shorter ones are filled with points that do not count."""
        longest = max(frame.corners.shape[1] for frame in frames)

        def padded(name: str) -> Tensor:
            values = [getattr(frame, name) for frame in frames]
            return torch.cat(
                [torch.cat([v, v.new_zeros(len(v), longest - v.shape[1], *v.shape[2:])], 1) for v in values]
            )

        return cls(**{field.name: padded(field.name) for field in fields(cls)})


class SurfaceDistances:
    """Distances of surface points as functions of own = (expr, pose) [N, P] and shared = (shape, offsets, log f) [S].

    Implements `least_squares.Observations` with the unknowns of `reprojection.Reprojection`, without the landmark
    offsets, which do not move the surface.
    """

    def __init__(
        self, rig: HeadRig, n_shape: int, n_expr: int, targets: SurfaceTargets, longer_side_px: int
    ) -> None:
        self.rig, self.n_shape, self.n_expr, self.longer_side = rig, n_shape, n_expr, longer_side_px
        self.targets, self.weight = targets, targets.inverse_sigma.double()
        self.template = self._at_points(rig.template)
        self.pose_directions = self._at_points(rig.pose_directions)
        self.skinning_weights = self._at_points(rig.skinning_weights)
        self.expr_columns = rig.n_shape + torch.arange(n_expr)
        self._directions: dict[bool, Tensor] = {}

    def reweight(self, own: Tensor, shared: Tensor) -> None:
        """Set Huber's weights for the distances at these unknowns."""
        distance = self._distances(self._points(own, shared), shared) * self.targets.inverse_sigma
        huber = HUBER / distance.abs().clamp_min(HUBER)
        self.weight = self.targets.inverse_sigma * huber.sqrt()

    def residuals(self, own: Tensor, shared: Tensor) -> Tensor:
        """[N, P]."""
        return self._distances(self._points(own, shared), shared) * self.weight

    def linearise(self, own: Tensor, shared: Tensor, *, with_shared: bool) -> Linearised:
        """Residuals with their derivatives by own and, if asked for, by shared unknowns."""
        joints = self.rig.joints(self._coefficients(own, shared))
        pose = own[:, self.n_expr :].float()
        transforms, feature = self.rig.pose(joints, pose)
        rest = self._rest(own, shared) + torch.einsum("npck,nk->npc", self.pose_directions, feature)
        blended = lbs.blend_transforms(transforms, self.skinning_weights)
        points = lbs.transform_points(blended, rest) + pose[:, None, TRANSLATION]
        projected = project_from_centre(points.double(), shared, self.longer_side)

        # the derivative of the residual by a point in the world: [N, P, 3]
        depth = points[..., 2:].clamp_min(MIN_DEPTH_METRES)
        focal_px = float(shared[-1].exp()) * self.longer_side
        direction = self.targets.direction
        along = (direction * projected.float()).sum(-1, keepdim=True)
        by_point = -torch.cat([focal_px * direction, along], 2) / depth * self.weight.float()[..., None]

        by_rest = torch.einsum("npi,npij->npj", by_point, blended[..., :3])
        homogeneous = torch.cat([rest, torch.ones_like(rest[..., :1])], 2)
        by_transforms = torch.einsum(
            "npi,nph,npj->npjih", by_point, homogeneous, self.skinning_weights
        ).flatten(2)
        by_joints, by_pose, feature_by_pose = self.rig.derivatives(joints, pose)
        through_pose = by_transforms @ by_pose.flatten(1, 3)
        through_pose = through_pose + torch.einsum("npj,npjk->npk", by_rest, self.pose_directions) @ (
            feature_by_pose
        )
        through_pose[..., TRANSLATION] += by_point

        columns = (
            torch.cat([torch.arange(self.n_shape), self.expr_columns]) if with_shared else self.expr_columns
        )
        through_joints = by_transforms @ by_joints.flatten(1, 3)  # [N, P, 15]
        by_coefficients = torch.einsum("npj,npjk->npk", by_rest, self._directions_of(with_shared))
        by_coefficients = by_coefficients + through_joints @ self.rig.joint_directions[columns].flatten(1).mT
        by_expr = by_coefficients[..., -self.n_expr :]
        by_shared = None
        if with_shared:
            by_focal = along * self.weight.float()[..., None]
            unmoved = by_focal.new_zeros(*by_focal.shape[:2], len(shared) - self.n_shape - 1)
            by_shared = torch.cat([by_coefficients[..., : self.n_shape], unmoved, by_focal], 2).double()
        return Linearised(
            residual=self._distances_of(projected) * self.weight,
            by_own=torch.cat([by_expr, through_pose], 2).double(),
            by_shared=by_shared,
        )

    def _points(self, own: Tensor, shared: Tensor) -> Tensor:
        pose = own[:, self.n_expr :].float()
        transforms, feature = self.rig.pose(self.rig.joints(self._coefficients(own, shared)), pose)
        rest = self._rest(own, shared) + torch.einsum("npck,nk->npc", self.pose_directions, feature)
        blended = lbs.blend_transforms(transforms, self.skinning_weights)
        return lbs.transform_points(blended, rest) + pose[:, None, TRANSLATION]

    def _rest(self, own: Tensor, shared: Tensor) -> Tensor:
        """The points of the resting head with all coefficients: [N, P, 3]."""
        coefficients = self._coefficients(own, shared)
        shaped = (
            self.rig.template
            + self.rig.directions[..., : self.rig.n_shape] @ (coefficients[0, : self.rig.n_shape])
        )
        used = self._directions_of(False)
        expr = coefficients[:, self.expr_columns]
        return self._at_points(shaped) + torch.einsum("npck,nk->npc", used, expr)

    def _coefficients(self, own: Tensor, shared: Tensor) -> Tensor:
        """Shape and expression of N frames: [N, K]."""
        coefficients = own.new_zeros(len(own), self.rig.n_shape + self.rig.n_expr)
        coefficients[:, : self.n_shape] = shared[: self.n_shape]
        coefficients[:, self.expr_columns] = own[:, : self.n_expr]
        return coefficients.float()

    def _directions_of(self, with_shape: bool) -> Tensor:
        """Directions at the points, of shape and expression or of expression only: [N, P, 3, K]."""
        if with_shape not in self._directions:
            columns = self.expr_columns
            if with_shape:
                columns = torch.cat([torch.arange(self.n_shape), columns])
            self._directions[with_shape] = self._at_points(self.rig.directions[..., columns])
        return self._directions[with_shape]

    def _at_points(self, table: Tensor) -> Tensor:
        """Values of vertices [V, ...] interpolated at the points: [N, P, ...]."""
        corners, weights = self.targets.corners, self.targets.barycentric
        total = 0.0
        for corner in range(3):
            weight = weights[..., corner].view(*weights.shape[:2], *(1,) * (table.ndim - 1))
            total = total + table[corners[..., corner]] * weight
        return total

    def _distances(self, points: Tensor, shared: Tensor) -> Tensor:
        return self._distances_of(project_from_centre(points.double(), shared, self.longer_side))

    def _distances_of(self, projected: Tensor) -> Tensor:
        return ((projected - self.targets.target_px) * self.targets.direction).sum(-1)
