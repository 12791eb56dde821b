"""Triton kernels of `nha/head/joint_rotation_ops.py`: each lane computes the rotation of one joint of one head.

With TRITON_INTERPRET=1 set before the import the kernels run on the CPU (slowly, for tests).
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from nha.core.rotation_triton import gradient_of_vector, load9, matrix_of, store9

_LANES = 32
_JOINTS = tl.constexpr(5)  # root, neck, jaw, left eye, right eye


@triton.jit
def _place(rotation_ptr, neck_ptr, jaw_ptr, eyes_ptr, head, joint):
    """Where the parameters of each lane's joint are."""
    eye = eyes_ptr + head * 6 + tl.where(joint == 4, 3, 0)
    lower = tl.where(joint == 2, jaw_ptr + head * 3, eye)
    upper = tl.where(joint == 0, rotation_ptr + head * 3, neck_ptr + head * 3)
    return tl.where(joint <= 1, upper, lower)


@triton.jit
def _angle(ptr, low_ptr, half_range_ptr, joint, mask, k: tl.constexpr):
    """Component k of each lane's angles in radians, and its derivative by the parameter."""
    value = tl.load(ptr + k, mask=mask, other=0.0)
    bounded = mask & (joint > 0)
    limit = (joint - 1) * 3 + k
    low = tl.load(low_ptr + limit, mask=bounded, other=0.0)
    half_range = tl.load(half_range_ptr + limit, mask=bounded, other=0.0)
    small = tl.exp(-2 * tl.abs(value))
    squashed = (1 - small) / (1 + small)  # tanh of the absolute value
    squashed = tl.where(value < 0, -squashed, squashed)
    angle = tl.where(joint > 0, low + (squashed + 1) * half_range, value)
    return angle, tl.where(joint > 0, half_range * (1 - squashed * squashed), 1.0)


@triton.jit
def _joint_rotations(
    rotation_ptr,  # [N, 3]
    neck_ptr,  # [N, 3]
    jaw_ptr,  # [N, 3]
    eyes_ptr,  # [N, 6]
    low_ptr,  # [12]
    half_range_ptr,  # [12]
    matrices_ptr,  # [N, 5, 9], written
    n,
    LANES: tl.constexpr,
):
    lane = tl.program_id(0) * LANES + tl.arange(0, LANES)
    mask = lane < n * _JOINTS
    head, joint = lane // _JOINTS, lane % _JOINTS
    ptr = _place(rotation_ptr, neck_ptr, jaw_ptr, eyes_ptr, head, joint)
    x, _ = _angle(ptr, low_ptr, half_range_ptr, joint, mask, 0)
    y, _ = _angle(ptr, low_ptr, half_range_ptr, joint, mask, 1)
    z, _ = _angle(ptr, low_ptr, half_range_ptr, joint, mask, 2)
    store9(matrices_ptr + lane * 9, matrix_of(x, y, z), mask)


@triton.jit
def _joint_rotations_backward(
    rotation_ptr,  # [N, 3]
    neck_ptr,  # [N, 3]
    jaw_ptr,  # [N, 3]
    eyes_ptr,  # [N, 6]
    low_ptr,  # [12]
    half_range_ptr,  # [12]
    upstream_ptr,  # [N, 5, 9]
    of_rotation_ptr,  # [N, 3], written
    of_neck_ptr,  # [N, 3], written
    of_jaw_ptr,  # [N, 3], written
    of_eyes_ptr,  # [N, 6], written
    n,
    LANES: tl.constexpr,
):
    lane = tl.program_id(0) * LANES + tl.arange(0, LANES)
    mask = lane < n * _JOINTS
    head, joint = lane // _JOINTS, lane % _JOINTS
    ptr = _place(rotation_ptr, neck_ptr, jaw_ptr, eyes_ptr, head, joint)
    x, slope_x = _angle(ptr, low_ptr, half_range_ptr, joint, mask, 0)
    y, slope_y = _angle(ptr, low_ptr, half_range_ptr, joint, mask, 1)
    z, slope_z = _angle(ptr, low_ptr, half_range_ptr, joint, mask, 2)
    of_x, of_y, of_z = gradient_of_vector(x, y, z, load9(upstream_ptr + lane * 9, mask))
    out = _place(of_rotation_ptr, of_neck_ptr, of_jaw_ptr, of_eyes_ptr, head, joint)
    tl.store(out, of_x * slope_x, mask=mask)
    tl.store(out + 1, of_y * slope_y, mask=mask)
    tl.store(out + 2, of_z * slope_z, mask=mask)


def joint_rotations(
    rotation: Tensor,
    neck: Tensor,
    jaw: Tensor,
    eyes: Tensor,
    low: Tensor,
    half_range: Tensor,
    matrices: Tensor,
) -> None:
    """Write the matrices [N, 5, 3, 3]; see `fused_joint_rotations`."""
    n = len(rotation)
    _joint_rotations[(triton.cdiv(n * _JOINTS.value, _LANES),)](
        rotation,
        neck,
        jaw,
        eyes,
        low,
        half_range,
        matrices,
        n,
        LANES=_LANES,
        num_warps=1,
        enable_fp_fusion=False,
    )


def joint_rotations_backward(
    rotation: Tensor,
    neck: Tensor,
    jaw: Tensor,
    eyes: Tensor,
    low: Tensor,
    half_range: Tensor,
    upstream: Tensor,
    of_rotation: Tensor,
    of_neck: Tensor,
    of_jaw: Tensor,
    of_eyes: Tensor,
) -> None:
    """Write the gradients of the parameters for that of the matrices [N, 5, 3, 3]."""
    n = len(rotation)
    _joint_rotations_backward[(triton.cdiv(n * _JOINTS.value, _LANES),)](
        rotation,
        neck,
        jaw,
        eyes,
        low,
        half_range,
        upstream,
        of_rotation,
        of_neck,
        of_jaw,
        of_eyes,
        n,
        LANES=_LANES,
        num_warps=1,
        enable_fp_fusion=False,
    )
