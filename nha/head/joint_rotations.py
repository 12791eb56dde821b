"""Rotation matrices of the joints from the parameters of a head, in few operations with hand-written gradients.

`nha.head.lbs.joint_rotations` with the limits of `nha.head.joint_limits` is the plain form.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nha.core.constants import constant
from nha.core.device import float32_products
from nha.core.launches import uses_fused_kernels
from nha.core.rotations import IDENTITY
from nha.core.types import HeadParams
from nha.head.joint_limits import lower_limit_and_half_range
from nha.head.joint_rotation_ops import LIMITS_DEG, fused_joint_rotations

# vector @ _CROSS is the flattened matrix of the cross product with the vector
_CROSS = (
    (0.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 1.0, 0.0),
    (0.0, 0.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0),
    (0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0),
)
_GUARD = 1e-8  # see `nha.core.rotations.rotation_matrix`


def joint_rotations(params: HeadParams) -> Tensor:
    """Rotation matrices of the joints [N, 5, 3, 3]; neck, jaw and eyes are inside their limits. Differentiable once."""
    parameters = (params.rotation, params.neck, params.jaw, params.eyes)
    if uses_fused_kernels(params.rotation.device) and params.rotation.dtype == torch.float32:
        return fused_joint_rotations(*parameters)
    limited = torch.cat(parameters[1:], 1)
    return _JointRotations.apply(params.rotation, limited)


class _JointRotations(torch.autograd.Function):
    @staticmethod
    @float32_products()
    def forward(ctx, rotation: Tensor, limited: Tensor) -> Tensor:
        low, half_range = lower_limit_and_half_range(LIMITS_DEG, limited)
        squashed = torch.tanh(limited)
        angles = torch.cat([rotation, low + (squashed + 1) * half_range], 1).view(-1, 5, 3)
        guarded = angles + _GUARD
        angle = torch.linalg.vector_norm(guarded, dim=-1, keepdim=True)  # [N, 5, 1]
        axis = angles / angle
        cross = (axis @ constant(_CROSS, axis)).unflatten(-1, (3, 3))
        square = cross @ cross
        sine, versine = angle.sin(), 1 - angle.cos()
        # no fused multiply-adds: the published rounding decides which way folds of the mesh face
        matrix = constant(IDENTITY, axis) + sine[..., None] * cross + versine[..., None] * square
        ctx.save_for_backward(squashed, guarded, angle, axis, cross, square, sine, versine)
        return matrix

    @staticmethod
    @torch.autograd.function.once_differentiable
    @float32_products()
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor]:
        squashed, guarded, angle, axis, cross, square, sine, versine = ctx.saved_tensors
        # of the cross product matrix K in I + sin K + (1 - cos) K K; K is antisymmetric
        both = cross @ grad
        both = torch.baddbmm(both.flatten(0, 1), grad.flatten(0, 1), cross.flatten(0, 1)).view_as(grad)
        of_cross = sine[..., None] * grad - versine[..., None] * both
        of_axis = of_cross.flatten(-2) @ constant(_CROSS, axis).T  # [N, 5, 3]
        products = torch.stack([cross, square]) * grad
        of_sine, of_versine = products.flatten(-2).sum(-1, keepdim=True)  # [N, 5, 1] each
        of_angle = (
            (1 - versine) * of_sine + sine * of_versine - (of_axis * axis).sum(-1, keepdim=True) / angle
        )
        of_angles = torch.addcmul(of_axis, of_angle, guarded) / angle
        of_rotation, of_limited = of_angles.flatten(1).split([3, 12], 1)
        _, half_range = lower_limit_and_half_range(LIMITS_DEG, squashed)
        return of_rotation, torch.ops.aten.tanh_backward(of_limited * half_range, squashed)
