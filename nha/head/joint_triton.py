"""Triton kernels of the joint transforms, see `nha/head/pose_ops.py`.

With TRITON_INTERPRET=1 set before the import the kernels run on the CPU (slowly, for tests).
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

_FRAMES = 32  # of a program of the joint transforms: each lane computes a frame


@triton.jit
def _load9(ptr, stride: tl.constexpr, mask):
    """A matrix [3, 3] of each lane, with `stride` between its rows."""
    return (
        tl.load(ptr, mask=mask, other=0.0),
        tl.load(ptr + 1, mask=mask, other=0.0),
        tl.load(ptr + 2, mask=mask, other=0.0),
        tl.load(ptr + stride, mask=mask, other=0.0),
        tl.load(ptr + stride + 1, mask=mask, other=0.0),
        tl.load(ptr + stride + 2, mask=mask, other=0.0),
        tl.load(ptr + 2 * stride, mask=mask, other=0.0),
        tl.load(ptr + 2 * stride + 1, mask=mask, other=0.0),
        tl.load(ptr + 2 * stride + 2, mask=mask, other=0.0),
    )


@triton.jit
def _store9(ptr, stride: tl.constexpr, m, mask):
    for i in tl.static_range(3):
        for k in tl.static_range(3):
            tl.store(ptr + i * stride + k, m[3 * i + k], mask=mask)


@triton.jit
def load3(ptr, stride: tl.constexpr, mask):
    return (
        tl.load(ptr, mask=mask, other=0.0),
        tl.load(ptr + stride, mask=mask, other=0.0),
        tl.load(ptr + 2 * stride, mask=mask, other=0.0),
    )


@triton.jit
def store3(ptr, stride: tl.constexpr, v, mask):
    for i in tl.static_range(3):
        tl.store(ptr + i * stride, v[i], mask=mask)


@triton.jit
def _apply(m, v):
    """The product of a matrix and a vector."""
    return (
        m[0] * v[0] + m[1] * v[1] + m[2] * v[2],
        m[3] * v[0] + m[4] * v[1] + m[5] * v[2],
        m[6] * v[0] + m[7] * v[1] + m[8] * v[2],
    )


@triton.jit
def _transposed(m):
    return m[0], m[3], m[6], m[1], m[4], m[7], m[2], m[5], m[8]


@triton.jit
def _product(a, b):
    """The product of two matrices."""
    return (
        a[0] * b[0] + a[1] * b[3] + a[2] * b[6],
        a[0] * b[1] + a[1] * b[4] + a[2] * b[7],
        a[0] * b[2] + a[1] * b[5] + a[2] * b[8],
        a[3] * b[0] + a[4] * b[3] + a[5] * b[6],
        a[3] * b[1] + a[4] * b[4] + a[5] * b[7],
        a[3] * b[2] + a[4] * b[5] + a[5] * b[8],
        a[6] * b[0] + a[7] * b[3] + a[8] * b[6],
        a[6] * b[1] + a[7] * b[4] + a[8] * b[7],
        a[6] * b[2] + a[7] * b[5] + a[8] * b[8],
    )


@triton.jit
def _outer(u, v):
    """The matrix u v^T."""
    return (
        u[0] * v[0],
        u[0] * v[1],
        u[0] * v[2],
        u[1] * v[0],
        u[1] * v[1],
        u[1] * v[2],
        u[2] * v[0],
        u[2] * v[1],
        u[2] * v[2],
    )


@triton.jit
def _plus3(a, b):
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


@triton.jit
def _minus3(a, b):
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


@triton.jit
def _plus9(a, b):
    return (
        a[0] + b[0],
        a[1] + b[1],
        a[2] + b[2],
        a[3] + b[3],
        a[4] + b[4],
        a[5] + b[5],
        a[6] + b[6],
        a[7] + b[7],
        a[8] + b[8],
    )


@triton.jit
def _minus9(a, b):
    return (
        a[0] - b[0],
        a[1] - b[1],
        a[2] - b[2],
        a[3] - b[3],
        a[4] - b[4],
        a[5] - b[5],
        a[6] - b[6],
        a[7] - b[7],
        a[8] - b[8],
    )


@triton.jit
def _transforms(
    rotations_ptr,  # [N, J, 9]
    joints_ptr,  # [N, J, 3]
    translation_ptr,  # [N, 3]
    parents_ptr,  # [J] int32
    transforms_ptr,  # [N, J, 12], written
    feature_ptr,  # [N, 9 (J - 1)], written
    chain_ptr,  # [N, J, 12], written: rotation and position of each joint relative to the root joint's parent
    n,
    JOINTS: tl.constexpr,
    FRAMES: tl.constexpr,
):
    frame = tl.program_id(0) * FRAMES + tl.arange(0, FRAMES)
    mask = frame < n
    root = load3(joints_ptr + frame * JOINTS * 3, 1, mask)
    shift = _minus3(load3(translation_ptr + frame * 3, 1, mask), root)
    for j in tl.static_range(JOINTS):
        place = frame * JOINTS + j
        own = _load9(rotations_ptr + place * 9, 3, mask)
        joint = load3(joints_ptr + place * 3, 1, mask)
        rotation, position = own, joint
        if j > 0:
            # each lane reads what it has written itself
            parent = frame * JOINTS + tl.load(parents_ptr + j)
            upper = _load9(chain_ptr + parent * 12, 4, mask)
            bone = _minus3(joint, load3(joints_ptr + parent * 3, 1, mask))
            rotation = _product(upper, own)
            position = _plus3(_apply(upper, bone), load3(chain_ptr + parent * 12 + 3, 4, mask))
            feature = feature_ptr + (frame * (JOINTS - 1) + j - 1) * 9
            identity = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
            _store9(feature, 3, _minus9(own, identity), mask)
        _store9(chain_ptr + place * 12, 4, rotation, mask)
        store3(chain_ptr + place * 12 + 3, 4, position, mask)
        _store9(transforms_ptr + place * 12, 4, rotation, mask)
        moved = _plus3(_minus3(position, _apply(rotation, joint)), shift)
        store3(transforms_ptr + place * 12 + 3, 4, moved, mask)


@triton.jit
def _transforms_backward(
    rotations_ptr,  # [N, J, 9]
    joints_ptr,  # [N, J, 3]
    parents_ptr,  # [J] int32
    chain_ptr,  # [N, J, 12]
    of_transforms_ptr,  # [N, J, 12]
    of_feature_ptr,  # [N, 9 (J - 1)]
    of_rotations_ptr,  # [N, J, 9], written
    of_joints_ptr,  # [N, J, 3], written
    of_translation_ptr,  # [N, 3], written
    of_chain_ptr,  # [N, J, 12], scratch
    n,
    JOINTS: tl.constexpr,
    FRAMES: tl.constexpr,
):
    frame = tl.program_id(0) * FRAMES + tl.arange(0, FRAMES)
    mask = frame < n
    zero = tl.zeros([FRAMES], tl.float32)
    total = (zero, zero, zero)
    for j in tl.static_range(JOINTS):
        place = frame * JOINTS + j
        of_shift = load3(of_transforms_ptr + place * 12 + 3, 4, mask)
        rotation = _load9(chain_ptr + place * 12, 4, mask)
        joint = load3(joints_ptr + place * 3, 1, mask)
        of_rotation = _minus9(_load9(of_transforms_ptr + place * 12, 4, mask), _outer(of_shift, joint))
        _store9(of_chain_ptr + place * 12, 4, of_rotation, mask)
        store3(of_chain_ptr + place * 12 + 3, 4, of_shift, mask)
        store3(
            of_joints_ptr + place * 3,
            1,
            _minus3((zero, zero, zero), _apply(_transposed(rotation), of_shift)),
            mask,
        )
        total = _plus3(total, of_shift)
    store3(of_translation_ptr + frame * 3, 1, total, mask)
    for step in tl.static_range(JOINTS - 1):
        j = JOINTS - 1 - step
        place = frame * JOINTS + j
        parent = frame * JOINTS + tl.load(parents_ptr + j)
        of_rotation = _load9(of_chain_ptr + place * 12, 4, mask)
        of_position = load3(of_chain_ptr + place * 12 + 3, 4, mask)
        upper = _transposed(_load9(chain_ptr + parent * 12, 4, mask))
        own = _load9(rotations_ptr + place * 9, 3, mask)
        of_feature = _load9(of_feature_ptr + (frame * (JOINTS - 1) + j - 1) * 9, 3, mask)
        _store9(of_rotations_ptr + place * 9, 3, _plus9(_product(upper, of_rotation), of_feature), mask)
        bone = _minus3(load3(joints_ptr + place * 3, 1, mask), load3(joints_ptr + parent * 3, 1, mask))
        through = _plus9(_product(of_rotation, _transposed(own)), _outer(of_position, bone))
        _store9(
            of_chain_ptr + parent * 12, 4, _plus9(_load9(of_chain_ptr + parent * 12, 4, mask), through), mask
        )
        above = of_chain_ptr + parent * 12 + 3
        store3(above, 4, _plus3(load3(above, 4, mask), of_position), mask)
        of_bone = _apply(upper, of_position)
        lower, higher = of_joints_ptr + place * 3, of_joints_ptr + parent * 3
        store3(lower, 1, _plus3(load3(lower, 1, mask), of_bone), mask)
        store3(higher, 1, _minus3(load3(higher, 1, mask), of_bone), mask)
    root = frame * JOINTS
    _store9(of_rotations_ptr + root * 9, 3, _load9(of_chain_ptr + root * 12, 4, mask), mask)
    of_root = _plus3(load3(of_joints_ptr + root * 3, 1, mask), load3(of_chain_ptr + root * 12 + 3, 4, mask))
    store3(of_joints_ptr + root * 3, 1, _minus3(of_root, total), mask)


def joint_transforms(
    rotations: Tensor,
    joints: Tensor,
    translation: Tensor,
    parents: Tensor,
    transforms: Tensor,
    feature: Tensor,
    chain: Tensor,
) -> None:
    """Write transforms [N, J, 3, 4], pose feature and chain [N, J, 12]; see `pose_ops.fused_transforms`."""
    n, count = joints.shape[:2]
    _transforms[(triton.cdiv(n, _FRAMES),)](
        rotations,
        joints,
        translation,
        parents,
        transforms,
        feature,
        chain,
        n,
        JOINTS=count,
        FRAMES=_FRAMES,
        num_warps=1,
        enable_fp_fusion=False,
    )


def joint_transforms_backward(
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
    """Write the gradients of rotations, joints and translation; `of_chain` is scratch."""
    n, count = joints.shape[:2]
    _transforms_backward[(triton.cdiv(n, _FRAMES),)](
        rotations,
        joints,
        parents,
        chain,
        of_transforms,
        of_feature,
        of_rotations,
        of_joints,
        of_translation,
        of_chain,
        n,
        JOINTS=count,
        FRAMES=_FRAMES,
        num_warps=1,
        enable_fp_fusion=False,
    )
