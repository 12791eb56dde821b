"""`rotation_matrix` and `rotation_vector` of `nha.core.rotations` as one kernel launch each, with gradients.

The kernels are in `nha/core/rotation_triton.py`. Differentiable once.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nha.core.launches import register_launches

GUARD = 1e-8  # see `nha.core.rotations.rotation_matrix`
SMALLEST_LENGTH = 1e-7  # of a quaternion's vector part; below it an angle is twice that length


def fused_rotation_matrix(axis_angle: Tensor) -> Tensor:
    """Rotation matrices [..., 3, 3] of axis-angle vectors [..., 3] in radians, float32."""
    return _RotationMatrix.apply(axis_angle)


def fused_rotation_vector(matrix: Tensor) -> Tensor:
    """Axis-angle vectors [..., 3] of rotation matrices [..., 3, 3], float32."""
    return _RotationVector.apply(matrix)


class _RotationMatrix(torch.autograd.Function):
    @staticmethod
    def forward(ctx, axis_angle: Tensor) -> Tensor:
        vectors = axis_angle.contiguous()
        ctx.save_for_backward(vectors)
        matrix = vectors.new_empty(*vectors.shape, 3)
        torch.ops.nha.rotation_matrix(vectors, matrix)
        return matrix

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> Tensor:
        (vectors,) = ctx.saved_tensors
        gradient = torch.empty_like(vectors)
        torch.ops.nha.rotation_matrix_backward(vectors, grad.contiguous(), gradient)
        return gradient


class _RotationVector(torch.autograd.Function):
    @staticmethod
    def forward(ctx, matrix: Tensor) -> Tensor:
        matrices = matrix.contiguous()
        ctx.save_for_backward(matrices)
        vector = matrices.new_empty(matrices.shape[:-1])
        torch.ops.nha.rotation_vector(matrices, vector)
        return vector

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> Tensor:
        (matrices,) = ctx.saved_tensors
        gradient = torch.empty_like(matrices)
        torch.ops.nha.rotation_vector_backward(matrices, grad.contiguous(), gradient)
        return gradient


# --- twins in plain torch -----------------------------------------------------------------------------------------


def _cross(axis: Tensor) -> Tensor:
    """The matrices [K, 3, 3] of the cross product with vectors [K, 3]."""
    x, y, z = axis.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).view(-1, 3, 3)


def _angle_and_axis(vectors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Vectors with the guard [K, 3], angles [K, 1] and axes [K, 3]."""
    own = vectors.view(-1, 3)
    guarded = own + GUARD
    angle = torch.linalg.vector_norm(guarded, dim=1, keepdim=True)
    return guarded, angle, own / angle


def matrix_twin(vectors: Tensor, matrix: Tensor) -> None:
    """Write rotation matrices [..., 3, 3] of axis-angle vectors [..., 3]."""
    _, angle, axis = _angle_and_axis(vectors)
    cross = _cross(axis)
    sine, versine = angle.sin()[..., None], (1 - angle.cos())[..., None]
    value = torch.eye(3, dtype=cross.dtype) + sine * cross + versine * (cross @ cross)
    matrix.copy_(value.view_as(matrix))


def matrix_backward_twin(vectors: Tensor, upstream: Tensor, gradient: Tensor) -> None:
    """Write the gradient [..., 3] of axis-angle vectors for that of their matrices [..., 3, 3]."""
    guarded, angle, axis = _angle_and_axis(vectors)
    upstream = upstream.view(-1, 3, 3)
    cross = _cross(axis)
    sine, cosine = angle.sin(), angle.cos()
    # of K in I + sin K + (1 - cos) K K, where K is antisymmetric
    of_cross = sine[..., None] * upstream - (1 - cosine)[..., None] * (cross @ upstream + upstream @ cross)
    antisymmetric = of_cross - of_cross.mT
    of_axis = torch.stack([antisymmetric[:, 2, 1], antisymmetric[:, 0, 2], antisymmetric[:, 1, 0]], 1)
    of_sine = (cross * upstream).sum((1, 2))[:, None]
    of_versine = ((cross @ cross) * upstream).sum((1, 2))[:, None]
    of_angle = cosine * of_sine + sine * of_versine - (of_axis * axis).sum(1, keepdim=True) / angle
    gradient.copy_(((of_axis + of_angle * guarded) / angle).view_as(gradient))


# rows of [m00 .. m22, 1] that give 4 * component * quaternion (w, x, y, z), for the component w, x, y, z
_CANDIDATES = (
    (
        (1, 0, 0, 0, 1, 0, 0, 0, 1, 1),
        (0, 0, 0, 0, 0, -1, 0, 1, 0, 0),
        (0, 0, 1, 0, 0, 0, -1, 0, 0, 0),
        (0, -1, 0, 1, 0, 0, 0, 0, 0, 0),
    ),
    (
        (0, 0, 0, 0, 0, -1, 0, 1, 0, 0),
        (1, 0, 0, 0, -1, 0, 0, 0, -1, 1),
        (0, 1, 0, 1, 0, 0, 0, 0, 0, 0),
        (0, 0, 1, 0, 0, 0, 1, 0, 0, 0),
    ),
    (
        (0, 0, 1, 0, 0, 0, -1, 0, 0, 0),
        (0, 1, 0, 1, 0, 0, 0, 0, 0, 0),
        (-1, 0, 0, 0, 1, 0, 0, 0, -1, 1),
        (0, 0, 0, 0, 0, 1, 0, 1, 0, 0),
    ),
    (
        (0, -1, 0, 1, 0, 0, 0, 0, 0, 0),
        (0, 0, 1, 0, 0, 0, 1, 0, 0, 0),
        (0, 0, 0, 0, 0, 1, 0, 1, 0, 0),
        (-1, 0, 0, 0, -1, 0, 0, 0, 1, 1),
    ),
)


def _best_candidates(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """The candidates' rows [K, 4, 10] with the largest component, and their values [K, 4]."""
    flat = matrices.view(-1, 9)
    extended = torch.cat([flat, torch.ones_like(flat[:, :1])], 1)
    rows = torch.tensor(_CANDIDATES, dtype=flat.dtype)
    values = (rows * extended[:, None, None]).sum(-1)  # [K, 4, 4]
    best = values.diagonal(dim1=1, dim2=2).argmax(1)
    return rows[best], values[torch.arange(len(flat)), best]


def _vector_twin(matrices: Tensor, vector: Tensor) -> None:
    _, values = _best_candidates(matrices)
    q = torch.nn.functional.normalize(values, dim=1)
    q = torch.where(q[:, :1] < 0, -q, q)
    length = torch.linalg.vector_norm(q[:, 1:], dim=1, keepdim=True)
    scale = torch.where(length > SMALLEST_LENGTH, 2 * torch.atan2(length, q[:, :1]) / length, 2)
    vector.copy_((q[:, 1:] * scale).view_as(vector))


def _vector_backward_twin(matrices: Tensor, upstream: Tensor, gradient: Tensor) -> None:
    rows, values = _best_candidates(matrices)
    upstream = upstream.view(-1, 3)
    norm = torch.linalg.vector_norm(values, dim=1, keepdim=True)
    unit = values / norm
    sign = torch.where(unit[:, :1] < 0, -1.0, 1.0)
    w, xyz = (sign * unit).split([1, 3], 1)
    length = torch.linalg.vector_norm(xyz, dim=1, keepdim=True)
    known = length > SMALLEST_LENGTH
    square = w * w + length * length
    scale = torch.where(known, 2 * torch.atan2(length, w) / length, 2)
    along = (upstream * xyz).sum(1, keepdim=True)
    by_length = torch.where(known, (2 * w / square - scale) / length, 0)
    of_xyz = upstream * scale + torch.where(known, along * by_length / length, 0) * xyz
    of_w = torch.where(known, -2 * along / square, 0)
    of_unit = sign * torch.cat([of_w, of_xyz], 1)
    of_values = (of_unit - unit * (unit * of_unit).sum(1, keepdim=True)) / norm
    gradient.copy_((rows[..., :9] * of_values[..., None]).sum(1).view_as(gradient))


register_launches(
    "nha.core.rotation_triton",
    {
        "rotation_matrix(Tensor vectors, Tensor(a!) matrix) -> ()": matrix_twin,
        "rotation_matrix_backward(Tensor vectors, Tensor upstream, Tensor(a!) gradient) -> ()": (
            matrix_backward_twin
        ),
        "rotation_vector(Tensor matrices, Tensor(a!) vector) -> ()": _vector_twin,
        "rotation_vector_backward(Tensor matrices, Tensor upstream, Tensor(a!) gradient) -> ()": (
            _vector_backward_twin
        ),
    },
)
