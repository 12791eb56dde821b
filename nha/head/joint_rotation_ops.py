"""`joint_rotations` as one kernel launch with gradients; the kernels are in `nha/head/joint_rotation_triton.py`."""

from __future__ import annotations

import torch
from torch import Tensor

from nha.core.launches import register_launches
from nha.core.rotation_ops import matrix_backward_twin, matrix_twin
from nha.head.joint_limits import EYES_LIMITS_DEG, JAW_LIMITS_DEG, NECK_LIMITS_DEG, lower_limit_and_half_range

LIMITS_DEG = NECK_LIMITS_DEG + JAW_LIMITS_DEG + EYES_LIMITS_DEG


def fused_joint_rotations(rotation: Tensor, neck: Tensor, jaw: Tensor, eyes: Tensor) -> Tensor:
    """Rotation matrices [N, 5, 3, 3] of the joints; neck, jaw [N, 3] and eyes [N, 6] are unbounded parameters."""
    return _JointRotations.apply(rotation, neck, jaw, eyes)


class _JointRotations(torch.autograd.Function):
    @staticmethod
    def forward(ctx, *parameters: Tensor) -> Tensor:
        parameters = [values.contiguous() for values in parameters]
        limits = lower_limit_and_half_range(LIMITS_DEG, parameters[0])
        matrices = parameters[0].new_empty(len(parameters[0]), 5, 3, 3)
        torch.ops.nha.joint_rotations(*parameters, *limits, matrices)
        ctx.save_for_backward(*parameters, *limits)
        return matrices

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, ...]:
        *parameters, low, half_range = ctx.saved_tensors
        gradients = tuple(torch.empty_like(values) for values in parameters)
        torch.ops.nha.joint_rotations_backward(*parameters, low, half_range, grad.contiguous(), *gradients)
        return gradients


def _angles(
    rotation: Tensor, neck: Tensor, jaw: Tensor, eyes: Tensor, low: Tensor, half_range: Tensor
) -> tuple[Tensor, Tensor]:
    """Axis-angle vectors [N, 5, 3], and tanh of the bounded parameters [N, 12]."""
    squashed = torch.tanh(torch.cat([neck, jaw, eyes], 1))
    angles = torch.cat([rotation, low + (squashed + 1) * half_range], 1)
    return angles.view(-1, 5, 3), squashed


def _joint_rotations_twin(
    rotation: Tensor,
    neck: Tensor,
    jaw: Tensor,
    eyes: Tensor,
    low: Tensor,
    half_range: Tensor,
    matrices: Tensor,
) -> None:
    matrix_twin(_angles(rotation, neck, jaw, eyes, low, half_range)[0], matrices)


def _joint_rotations_backward_twin(
    rotation: Tensor,
    neck: Tensor,
    jaw: Tensor,
    eyes: Tensor,
    low: Tensor,
    half_range: Tensor,
    upstream: Tensor,
    *gradients: Tensor,
) -> None:
    angles, squashed = _angles(rotation, neck, jaw, eyes, low, half_range)
    of_angles = torch.empty_like(angles)
    matrix_backward_twin(angles, upstream, of_angles)
    of_rotation, of_bounded = of_angles.flatten(1).split([3, 12], 1)
    of_bounded = of_bounded * half_range * (1 - squashed * squashed)
    for gradient, values in zip(gradients, (of_rotation, *of_bounded.split([3, 3, 6], 1)), strict=True):
        gradient.copy_(values)


register_launches(
    "nha.head.joint_rotation_triton",
    {
        "joint_rotations(Tensor rotation, Tensor neck, Tensor jaw, Tensor eyes, Tensor low, Tensor half_range, "
        "Tensor(a!) matrices) -> ()": _joint_rotations_twin,
        "joint_rotations_backward(Tensor rotation, Tensor neck, Tensor jaw, Tensor eyes, Tensor low, "
        "Tensor half_range, Tensor upstream, Tensor(a!) of_rotation, Tensor(b!) of_neck, Tensor(c!) of_jaw, "
        "Tensor(d!) of_eyes) -> ()": _joint_rotations_backward_twin,
    },
)
