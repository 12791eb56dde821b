"""Differentiable functions on triangle meshes: normals, tangent frames, edges, the uniform Laplacian.

N is the number of configurations of one mesh, V that of its vertices, F of its faces, E of its edges.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nha.core.constants import constant
from nha.core.launches import uses_fused_kernels
from nha.core.mesh_ops import fused_neighbour_difference, fused_tangent_offsets, fused_vertex_normals


def sum_rows(rows: Tensor, target: Tensor, n_targets: int) -> Tensor:
    """Sum the rows that have the same target.

    Args:
        rows: [N, R, C].
        target: [R] long, in 0..n_targets - 1.
        n_targets: the number of sums.

    Returns:
        [N, n_targets, C].
    """
    # on a CPU, scatter_add takes a tenth of the time of index_add
    place = target[None, :, None].expand_as(rows)
    return rows.new_zeros(len(rows), n_targets, rows.shape[-1]).scatter_add(1, place, rows)


class _GatherCorners(torch.autograd.Function):
    """values[:, faces] with a single sum as its backward pass, which is much faster than that of indexing."""

    @staticmethod
    def forward(ctx, values: Tensor, faces: Tensor) -> Tensor:
        ctx.save_for_backward(faces)
        ctx.n_rows = values.shape[1]
        return values.index_select(1, faces.reshape(-1)).unflatten(1, faces.shape)

    @staticmethod
    def backward(ctx, upstream: Tensor):
        (faces,) = ctx.saved_tensors
        rows = upstream.reshape(upstream.shape[0], -1, upstream.shape[-1])
        return sum_rows(rows, faces.reshape(-1), ctx.n_rows), None


def corner_values(values: Tensor, faces: Tensor) -> Tensor:
    """Values at the faces' corners: values [N, V, C] and faces [F, 3] give [N, F, 3, C]."""
    return _GatherCorners.apply(values, faces)


def face_cross_products(vertices: Tensor, faces: Tensor) -> Tensor:
    """(b - a) x (c - a) of each face (a, b, c), whose length is twice the area: [N, V, 3] and [F, 3] give [N, F, 3]."""
    a, b, c = corner_values(vertices, faces).unbind(2)
    return torch.linalg.cross(b - a, c - a)


def vertex_normals(vertices: Tensor, faces: Tensor, eps: float = 1e-12) -> Tensor:
    """Area-weighted vertex normals: the sum n of the adjacent faces' cross products, as n / max(|n|, eps).

    Args:
        vertices: [N, V, 3].
        faces: [F, 3] vertex ids, counter-clockwise seen from outside.
        eps: lower limit of the length by which a sum is divided.

    Returns:
        [N, V, 3] pointing outwards; 0 at vertices without faces.
    """
    if uses_fused_kernels(vertices.device) and vertices.dtype == torch.float32:
        return fused_vertex_normals(vertices, faces, eps)
    cross = face_cross_products(vertices, faces)
    per_corner = cross[:, :, None].expand(-1, -1, 3, -1).reshape(len(vertices), -1, 3)
    normals = sum_rows(per_corner, faces.reshape(-1), vertices.shape[1])
    return _Normalise.apply(normals, eps)


class _Normalise(torch.autograd.Function):
    """v / max(|v|, eps) along the last axis, with fewer operations backward than autograd's."""

    @staticmethod
    def forward(ctx, vectors: Tensor, eps: float) -> Tensor:
        length = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
        limited = length.clamp_min(eps)
        unit = vectors / limited
        ctx.save_for_backward(unit, limited)
        ctx.eps = eps
        return unit

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        unit, limited = ctx.saved_tensors
        along = (unit * grad).sum(-1, keepdim=True) * (limited > ctx.eps)
        return torch.addcmul(grad, unit, along, value=-1) / limited, None


def tangent_frames(normals: Tensor) -> Tensor:
    """The coordinate systems of vertex offsets (`docs/method.md`, section 1).

    The columns are e_x = normalise((0,1,0) x normal), e_y = normal x e_x and e_z = normal. Where the normal is
    parallel to (0,1,0), e_x is (0,0,1).

    Args:
        normals: [N, V, 3] of unit length.

    Returns:
        [N, V, 3, 3] with world offset = frame @ tangent offset.
    """
    up = constant((0.0, 1.0, 0.0), normals).expand_as(normals)
    e_x = torch.linalg.cross(up, normals)
    length = torch.linalg.vector_norm(e_x, dim=-1, keepdim=True)
    fallback = constant((0.0, 0.0, 1.0), normals).expand_as(normals)
    e_x = torch.where(length < 1e-6, fallback, e_x / length.clamp_min(1e-6))
    e_y = torch.linalg.cross(normals, e_x)
    return torch.stack([e_x, e_y, normals], -1)


def moved_in_frames(points: Tensor, normals: Tensor, ids: Tensor, offsets: Tensor) -> Tensor:
    """Points moved by offsets in tangent frames. No gradient flows through the frames.

    Args:
        points: [N, K, 3].
        normals: [N, V, 3] of unit length.
        ids: [K] long, the rows of the points' normals.
        offsets: [N, K, 3] in the frames of `tangent_frames`.

    Returns:
        [N, K, 3].
    """
    normals = normals.detach()
    if uses_fused_kernels(points.device) and points.dtype == torch.float32:
        return fused_tangent_offsets(points, normals, ids, offsets)
    frames = tangent_frames(normals.index_select(1, ids))
    return points + (frames * offsets[..., None, :]).sum(-1)


def unique_edges(faces: Tensor) -> Tensor:
    """The undirected edges of faces [F, 3] as sorted pairs [E, 2], smaller vertex id first."""
    pairs = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).sort(1).values
    return torch.unique(pairs, dim=0)


def neighbour_mean(values: Tensor, edges: Tensor, include_self: bool = False) -> Tensor:
    """The mean of the values at each vertex's neighbours.

    Args:
        values: [N, V, C].
        edges: [E, 2] undirected edges.
        include_self: include the vertex itself in the mean.

    Returns:
        [N, V, C]; for a vertex without neighbours 0, or its own value with `include_self`.
    """
    total, count = _neighbour_sum(values, edges)
    if include_self:
        total, count = total + values, count + 1
    return total / count.clamp_min(1)


def neighbour_mean_difference(values: Tensor, edges: Tensor) -> Tensor:
    """The uniform graph Laplacian: the mean of the neighbours' values minus the vertex's own.

    Args:
        values: [N, V, C].
        edges: [E, 2] undirected edges.

    Returns:
        [N, V, C]; 0 at vertices without neighbours.
    """
    if uses_fused_kernels(values.device) and values.dtype == torch.float32:
        return fused_neighbour_difference(values, edges)
    total, count = _neighbour_sum(values, edges)
    return total / count.clamp_min(1) - values * count.clamp_max(1)


def _neighbour_sum(values: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
    """The sum over each vertex's neighbours [N, V, C], and their number [V, 1]."""
    ends, others = torch.cat([edges, edges.flip(1)]).unbind(1)
    gathered = corner_values(values, others[:, None]).squeeze(2)
    ones = values.new_ones(1).expand(edges.numel())
    count = values.new_zeros(values.shape[1]).scatter_add(0, edges.reshape(-1), ones)
    return sum_rows(gathered, ends, values.shape[1]), count[:, None]
