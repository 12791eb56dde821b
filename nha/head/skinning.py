"""From vertices in the neutral pose to the world: in plain torch, or by fused kernels on accelerators."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from nha.core.launches import uses_fused_kernels
from nha.head import lbs
from nha.head.pose_ops import fused_skinning, fused_transforms


def skinning(
    rotations: Tensor,
    joints: Tensor,
    translation: Tensor,
    parents: tuple[int, ...],
    weights: Tensor,
    corner_weights: Tensor | None = None,
) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """The pose feature, and the function that skins vertices and moves them to the world.

    Args:
        rotations: [N, J, 3, 3] of the joints, relative to the parent joint.
        joints: [N, J, 3] metres, in the neutral pose.
        translation: [N, 3] metres.
        parents: J ids of joints, `parents[0]` is -1.
        weights: [V, J] skinning weights.
        corner_weights: [P, C] where P points are weighted sums of C vertices each; V is P C.

    Returns:
        [N, 9 (J - 1)], see `lbs.pose_feature`; and the function from vertices [N, V, 3] in the neutral pose to vertices
        [N, V, 3] or points [N, P, 3] in the world.
    """
    if uses_fused_kernels(joints.device) and joints.dtype == torch.float32:
        transforms, feature = fused_transforms(rotations, joints, translation, parents)
        return feature, lambda rest: fused_skinning(transforms, rest, weights, corner_weights)
    transforms = lbs.joint_transforms(rotations, joints, parents)
    blended = lbs.blend_transforms(transforms, weights)

    def place(rest: Tensor) -> Tensor:
        placed = lbs.transform_points(blended, rest) - joints[:, :1] + translation[:, None]
        if corner_weights is None:
            return placed
        return (placed.unflatten(1, corner_weights.shape) * corner_weights[..., None]).sum(2)

    return lbs.pose_feature(rotations), place
