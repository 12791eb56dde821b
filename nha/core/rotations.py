"""Axis-angle vectors and rotation matrices."""

from __future__ import annotations

import torch
from torch import Tensor

from nha.core.constants import constant

IDENTITY = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


def rotation_matrix(axis_angle: Tensor) -> Tensor:
    """Rodrigues' formula with FLAME's guard against angle zero. `docs/method.md`, section 1.

    axis_angle: [..., 3] radians. Returns [..., 3, 3] for column vectors.
    """
    # FLAME adds 1e-8 to the vector, not to its length: this keeps the gradient finite at zero.
    angle = torch.linalg.vector_norm(axis_angle + 1e-8, dim=-1, keepdim=True)
    x, y, z = (axis_angle / angle).unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
    sine, cosine = angle.sin()[..., None], angle.cos()[..., None]
    return constant(IDENTITY, axis_angle) + sine * cross + (1 - cosine) * (cross @ cross)


def quaternion(matrix: Tensor) -> Tensor:
    """Unit quaternions (w, x, y, z) of rotation matrices, from the best-conditioned of four formulas.

    matrix: [..., 3, 3]. Returns [..., 4].
    """
    m = matrix
    xx, yy, zz = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    one = torch.ones_like(xx)
    # Each row is 4 * component * quaternion, for the component w, x, y, z.
    a, b, c = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    d, e, f = m[..., 1, 0] + m[..., 0, 1], m[..., 0, 2] + m[..., 2, 0], m[..., 1, 2] + m[..., 2, 1]
    candidates = torch.stack(
        [
            torch.stack([one + xx + yy + zz, a, b, c], -1),
            torch.stack([a, one + xx - yy - zz, d, e], -1),
            torch.stack([b, d, one - xx + yy - zz, f], -1),
            torch.stack([c, e, f, one - xx - yy + zz], -1),
        ],
        -2,
    )
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
    q = quaternion(matrix)
    q = torch.where(q[..., :1] < 0, -q, q)
    length = torch.linalg.vector_norm(q[..., 1:], dim=-1, keepdim=True)
    angle = 2 * torch.atan2(length, q[..., :1])
    # For tiny rotations angle / length tends to 2.
    scale = torch.where(length > 1e-7, angle / length.clamp_min(1e-7), torch.full_like(length, 2.0))
    return q[..., 1:] * scale
