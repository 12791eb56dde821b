"""Axis-angle vectors and rotation matrices."""

from __future__ import annotations

import torch
from torch import Tensor

from nha.core.constants import constant
from nha.core.launches import uses_fused_kernels
from nha.core.rotation_ops import fused_rotation_matrix, fused_rotation_vector

# places and signs of the terms of `quaternion` in a flattened matrix
_XX_SIGNS, _YY_SIGNS, _ZZ_SIGNS = (1, 1, -1, -1), (1, -1, 1, -1), (1, -1, -1, 1)
_FIRST, _SECOND = (7, 2, 3, 3, 2, 5), (5, 6, 1, 1, 6, 7)
_SECOND_SIGNS = (-1, -1, -1, 1, 1, 1)
_CANDIDATES = (0, 4, 5, 6, 4, 1, 7, 8, 5, 7, 2, 9, 6, 8, 9, 3)
IDENTITY = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
# places and signs of a vector's components in the flattened matrix of the cross product with it
_CROSS_PLACES, _CROSS_SIGNS = (0, 2, 1, 2, 0, 0, 1, 0, 0), (0, -1, 1, 1, 0, -1, -1, 1, 0)


def rotation_matrix(axis_angle: Tensor) -> Tensor:
    """Rodrigues' formula with FLAME's guard against angle zero. `docs/method.md`, section 1.

    axis_angle: [..., 3] radians. Returns [..., 3, 3] for column vectors.
    """
    if uses_fused_kernels(axis_angle.device) and axis_angle.dtype == torch.float32:
        return fused_rotation_matrix(axis_angle)
    # FLAME adds 1e-8 to the vector, not to its length: this keeps the gradient finite at zero.
    angle = torch.linalg.vector_norm(axis_angle + 1e-8, dim=-1, keepdim=True)
    axis = axis_angle / angle
    places = axis.index_select(-1, constant(_CROSS_PLACES, axis, torch.long))
    cross = (places * constant(_CROSS_SIGNS, axis)).unflatten(-1, (3, 3))
    sine, cosine = angle.sin()[..., None], angle.cos()[..., None]
    return constant(IDENTITY, axis_angle) + sine * cross + (1 - cosine) * (cross @ cross)


def quaternion(matrix: Tensor) -> Tensor:
    """Unit quaternions (w, x, y, z) of rotation matrices, from the best-conditioned of four formulas.

    matrix: [..., 3, 3]. Returns [..., 4].
    """
    m = matrix.flatten(-2)
    # Few operations, because each costs a launch: 1 +- xx +- yy +- zz on the diagonal, differences and sums beside it.
    diagonal = 1 + constant(_XX_SIGNS, m) * m[..., 0:1]
    diagonal = torch.addcmul(diagonal, constant(_YY_SIGNS, m), m[..., 4:5])
    diagonal = torch.addcmul(diagonal, constant(_ZZ_SIGNS, m), m[..., 8:9])
    first, second = (m.index_select(-1, constant(ids, m, torch.long)) for ids in (_FIRST, _SECOND))
    others = torch.addcmul(first, constant(_SECOND_SIGNS, m), second)  # a, b, c, d, e, f
    # Each row is 4 * component * quaternion, for the component w, x, y, z.
    order = constant(_CANDIDATES, m, torch.long)
    candidates = torch.cat([diagonal, others], -1).index_select(-1, order).unflatten(-1, (4, 4))
    best = candidates.diagonal(dim1=-2, dim2=-1).argmax(-1)
    chosen = torch.take_along_dim(candidates, best[..., None, None], -2).squeeze(-2)
    return torch.nn.functional.normalize(chosen, dim=-1)


def rotation_vector(matrix: Tensor) -> Tensor:
    """Axis-angle vectors of rotation matrices, the angle in 0..pi.

    Computed from the quaternion, because the arc cosine of the trace is inaccurate near pi, the angle of heads that
    face the camera.

    Args:
        matrix: [..., 3, 3].

    Returns:
        [..., 3] radians.
    """
    if uses_fused_kernels(matrix.device) and matrix.dtype == torch.float32:
        return fused_rotation_vector(matrix)
    q = quaternion(matrix)
    q = torch.where(q[..., :1] < 0, -q, q)
    length = torch.linalg.vector_norm(q[..., 1:], dim=-1, keepdim=True)
    angle = 2 * torch.atan2(length, q[..., :1])
    # For tiny rotations angle / length tends to 2.
    scale = torch.where(length > 1e-7, angle / length.clamp_min(1e-7), constant((2.0,), length))
    return q[..., 1:] * scale
