"""Joint transforms and skinning as kernel launches with gradients; the kernels are in `joint_triton.py` and
`skin_triton.py`.

`joint_transforms`, `blend_transforms` and `transform_points` of `nha/head/lbs.py` are the plain form.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nha.core.constants import constant
from nha.core.launches import register_launches
from nha.head import lbs

VERTICES = 128  # that a program of the backward pass adds up


def fused_transforms(
    rotations: Tensor, joints: Tensor, translation: Tensor, parents: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    """Maps from the neutral pose to the world for each joint, and the pose feature. Differentiable once.

    Args:
        rotations: [N, J, 3, 3] relative to the parent joint.
        joints: [N, J, 3] positions in the neutral pose, metres.
        translation: [N, 3] metres.
        parents: J ids, `parents[0]` is -1.

    Returns:
        [N, J, 3, 4], rotation R and translation t of x -> R x + t, `lbs.joint_transforms` with the root joint at
        `translation`; and [N, 9 (J - 1)], `lbs.pose_feature`.
    """
    ids = constant(parents, rotations, torch.int32)
    return _Transforms.apply(rotations, joints, translation, ids)


def fused_skinning(
    transforms: Tensor, rest: Tensor, weights: Tensor, corner_weights: Tensor | None = None
) -> Tensor:
    """Points in the world, each a weighted sum of C skinned vertices. Differentiable once.

    Args:
        transforms: [N, J, 3, 4] of the joints.
        rest: [N, P C, 3] vertices in the neutral pose, the C of a point one after the other.
        weights: [P C, J] skinning weights.
        corner_weights: [P, C] weights of the vertices in the point; None where points are vertices, C = 1.

    Returns:
        [N, P, 3].
    """
    return _Skinning.apply(transforms, rest, weights, corner_weights)


class _Transforms(torch.autograd.Function):
    @staticmethod
    def forward(ctx, rotations, joints, translation, parents):
        rotations, joints = rotations.contiguous(), joints.contiguous()
        n, count = joints.shape[:2]
        transforms = joints.new_empty(n, count, 3, 4)
        feature = joints.new_empty(n, 9 * (count - 1))
        chain = joints.new_empty(n, count, 12)
        torch.ops.nha.joint_transforms(
            rotations, joints, translation.contiguous(), parents, transforms, feature, chain
        )
        ctx.save_for_backward(rotations, joints, parents, chain)
        ctx.set_materialize_grads(True)
        return transforms, feature

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, of_transforms, of_feature):
        rotations, joints, parents, chain = ctx.saved_tensors
        of_rotations, of_joints = torch.empty_like(rotations), torch.empty_like(joints)
        of_translation = joints.new_empty(len(joints), 3)
        of_chain = torch.empty_like(chain)
        torch.ops.nha.joint_transforms_backward(
            rotations,
            joints,
            parents,
            chain,
            of_transforms.contiguous(),
            of_feature.contiguous(),
            of_rotations,
            of_joints,
            of_translation,
            of_chain,
        )
        return of_rotations, of_joints, of_translation, None


class _Skinning(torch.autograd.Function):
    @staticmethod
    def forward(ctx, transforms, rest, weights, corner_weights):
        transforms, rest = transforms.contiguous(), rest.contiguous()
        corners = 1 if corner_weights is None else corner_weights.shape[1]
        points = rest.new_empty(len(rest), rest.shape[1] // corners, 3)
        torch.ops.nha.skin(transforms, rest, weights, corner_weights, points)
        ctx.save_for_backward(transforms, rest, weights, corner_weights)
        return points

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        transforms, rest, weights, corner_weights = ctx.saved_tensors
        n, count = rest.shape[:2]
        blocks = -(-count // VERTICES)
        of_rest = torch.empty_like(rest)
        of_transforms = rest.new_empty(blocks, *transforms.shape)
        torch.ops.nha.skin_backward(
            transforms, rest, weights, corner_weights, grad.contiguous(), of_rest, of_transforms
        )
        of_transforms = of_transforms.sum(0) if blocks > 1 else of_transforms[0]
        return of_transforms, of_rest, None, None


# --- twins in plain torch -----------------------------------------------------------------------------------------


def _transforms_twin(
    rotations: Tensor,
    joints: Tensor,
    translation: Tensor,
    parents: Tensor,
    transforms: Tensor,
    feature: Tensor,
    chain: Tensor,
) -> None:
    own_chain = chain.unflatten(2, (3, 4))
    for j, parent in enumerate(parents.tolist()):
        if parent < 0:
            own_chain[:, j] = torch.cat([rotations[:, j], joints[:, j, :, None]], 2)
            continue
        rotation, position = own_chain[:, parent].split([3, 1], 2)
        bone = (joints[:, j] - joints[:, parent])[..., None]
        own_chain[:, j] = torch.cat([rotation @ rotations[:, j], rotation @ bone + position], 2)
    rotation, position = own_chain.split([3, 1], 3)
    shift = (translation - joints[:, 0])[:, None, :, None]
    transforms.copy_(torch.cat([rotation, position - rotation @ joints[..., None] + shift], 3))
    feature.copy_(lbs.pose_feature(rotations))


def _transforms_backward_twin(
    rotations: Tensor,
    joints: Tensor,
    parents: Tensor,
    chain: Tensor,
    of_transforms: Tensor,
    of_feature: Tensor,
    of_rotations: Tensor,
    of_joints: Tensor,
    of_translation: Tensor,
    of_chain: Tensor,
) -> None:
    rotation = chain.unflatten(2, (3, 4))[..., :3]
    of_rotation, of_shift = of_transforms.split([3, 1], 3)
    of_rotation = of_rotation - of_shift * joints[:, :, None]  # of the translation p - R joint
    of_position = of_shift.clone()
    of_joints.copy_(-(rotation.mT @ of_shift)[..., 0])
    of_translation.copy_(of_shift[..., 0].sum(1))
    for j, parent in reversed(list(enumerate(parents.tolist()))):
        if parent < 0:
            of_rotations[:, j] = of_rotation[:, j]
            of_joints[:, j] += of_position[:, j, :, 0]
            continue
        upper, bone = rotation[:, parent], joints[:, j] - joints[:, parent]
        of_rotations[:, j] = upper.mT @ of_rotation[:, j]
        of_rotation[:, parent] += of_rotation[:, j] @ rotations[:, j].mT + of_position[:, j] * bone[:, None]
        of_position[:, parent] += of_position[:, j]
        of_bone = (upper.mT @ of_position[:, j])[..., 0]
        of_joints[:, j] += of_bone
        of_joints[:, parent] -= of_bone
    of_joints[:, 0] -= of_translation
    of_rotations[:, 1:] += of_feature.view_as(of_rotations[:, 1:])


def _skin_twin(
    transforms: Tensor, rest: Tensor, weights: Tensor, corner_weights: Tensor | None, points: Tensor
) -> None:
    placed = lbs.transform_points(lbs.blend_transforms(transforms, weights), rest)
    if corner_weights is not None:
        placed = (placed.unflatten(1, corner_weights.shape) * corner_weights[..., None]).sum(2)
    points.copy_(placed)


def _skin_backward_twin(
    transforms: Tensor,
    rest: Tensor,
    weights: Tensor,
    corner_weights: Tensor | None,
    upstream: Tensor,
    of_rest: Tensor,
    of_transforms: Tensor,
) -> None:
    if corner_weights is not None:
        upstream = (upstream[:, :, None] * corner_weights[..., None]).flatten(1, 2)
    blended = lbs.blend_transforms(transforms, weights)
    of_rest.copy_((blended[..., :3].mT @ upstream[..., None]).squeeze(-1))
    extended = torch.cat([rest, torch.ones_like(rest[..., :1])], 2)
    outer = upstream[..., None] * extended[:, :, None]  # [N, V, 3, 4]
    for block, own in enumerate(of_transforms):
        part = slice(block * VERTICES, (block + 1) * VERTICES)
        own.copy_(torch.einsum("vj,nvik->njik", weights[part], outer[:, part]))


register_launches(
    "nha.head.joint_triton",
    {
        "joint_transforms(Tensor rotations, Tensor joints, Tensor translation, Tensor parents, "
        "Tensor(a!) transforms, Tensor(b!) feature, Tensor(c!) chain) -> ()": _transforms_twin,
        "joint_transforms_backward(Tensor rotations, Tensor joints, Tensor parents, Tensor chain, "
        "Tensor of_transforms, Tensor of_feature, Tensor(a!) of_rotations, Tensor(b!) of_joints, "
        "Tensor(c!) of_translation, Tensor(d!) of_chain) -> ()": _transforms_backward_twin,
    },
)
register_launches(
    "nha.head.skin_triton",
    {
        "skin(Tensor transforms, Tensor rest, Tensor weights, Tensor? corner_weights, Tensor(a!) points) -> ()": (
            _skin_twin
        ),
        "skin_backward(Tensor transforms, Tensor rest, Tensor weights, Tensor? corner_weights, Tensor upstream, "
        "Tensor(a!) of_rest, Tensor(b!) of_transforms) -> ()": _skin_backward_twin,
    },
)
