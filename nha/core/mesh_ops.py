"""Vertex normals, tangent frames and the Laplacian of meshes as kernel launches; the kernels are in `mesh_triton.py`.

Sums over the faces or neighbours of a vertex are made by the vertex itself, from a table of them, in a fixed order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from nha.core.launches import register_launches

_SHORTEST_AXIS = 1e-6  # of the first axis of a tangent frame, see `nha.core.mesh.tangent_frames`


@dataclass(frozen=True)
class Incidence:
    """Which items belong to each vertex: those of vertex v are items[starts[v] : starts[v + 1]].

    Attributes:
        starts: [V + 1] int32.
        items: [E] int32.
        largest: the largest number of items of a vertex.
    """

    starts: Tensor
    items: Tensor
    largest: int


def _incidence(source: Tensor, n_vertices: int, pairs: Callable[[], tuple[Tensor, Tensor]]) -> Incidence:
    """The table of pairs (vertex, item), which is made once for each `source` and kept with it."""
    kept = getattr(source, "_incidence", None)
    if kept is None or len(kept.starts) != n_vertices + 1:
        with torch.inference_mode(False), torch.no_grad():
            vertex, item = pairs()
            order = torch.argsort(vertex, stable=True)
            count = torch.bincount(vertex, minlength=n_vertices)
            starts = torch.cat([count.new_zeros(1), count.cumsum(0)])
            largest = int(count.max()) if len(item) else 0
            kept = source._incidence = Incidence(starts.int(), item[order].int().contiguous(), largest)
    return kept


def corners_of_vertices(faces: Tensor, n_vertices: int) -> Incidence:
    """The corners of each vertex, numbered as the elements of the faces [F, 3]."""

    def pairs() -> tuple[Tensor, Tensor]:
        return faces.flatten(), torch.arange(faces.numel(), device=faces.device)

    return _incidence(faces, n_vertices, pairs)


def neighbours_of_vertices(edges: Tensor, n_vertices: int) -> Incidence:
    """The vertices at the other ends of each vertex's undirected edges [E, 2]."""
    return _incidence(edges, n_vertices, lambda: torch.cat([edges, edges.flip(1)]).unbind(1))


def fused_vertex_normals(vertices: Tensor, faces: Tensor, eps: float) -> Tensor:
    """`nha.core.mesh.vertex_normals`; differentiable once."""
    table = corners_of_vertices(faces, vertices.shape[1])
    return _VertexNormals.apply(vertices, faces, table, eps)


def fused_neighbour_difference(values: Tensor, edges: Tensor) -> Tensor:
    """`nha.core.mesh.neighbour_mean_difference`; differentiable once."""
    return _NeighbourDifference.apply(values, neighbours_of_vertices(edges, values.shape[1]))


def fused_tangent_offsets(points: Tensor, normals: Tensor, ids: Tensor, offsets: Tensor) -> Tensor:
    """Points moved by offsets in the tangent frames of normals, which get no gradient.

    Args:
        points: [N, K, 3].
        normals: [N, V, 3] of unit length.
        ids: [K] long, the rows of the points' normals.
        offsets: [N, K, 3].

    Returns:
        [N, K, 3]; differentiable once, in points and offsets.
    """
    return _TangentOffsets.apply(points, normals, ids, offsets)


class _VertexNormals(torch.autograd.Function):
    @staticmethod
    def forward(ctx, vertices: Tensor, faces: Tensor, table: Incidence, eps: float) -> Tensor:
        vertices, faces = vertices.contiguous(), faces.contiguous()
        normals = torch.empty_like(vertices)
        lengths = vertices.new_empty(vertices.shape[:2])
        torch.ops.nha.vertex_normals(
            vertices, faces, table.starts, table.items, table.largest, eps, normals, lengths
        )
        ctx.save_for_backward(vertices, faces, normals, lengths)
        ctx.table, ctx.eps = table, eps
        return normals

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        vertices, faces, normals, lengths = ctx.saved_tensors
        of_sums, gradient = torch.empty_like(vertices), torch.empty_like(vertices)
        torch.ops.nha.unit_backward(normals, lengths, grad.contiguous(), ctx.eps, of_sums)
        table = ctx.table
        torch.ops.nha.vertex_normals_backward(
            vertices, faces, table.starts, table.items, table.largest, of_sums, gradient
        )
        return gradient, None, None, None


class _NeighbourDifference(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values: Tensor, table: Incidence) -> Tensor:
        ctx.table = table
        return _difference(values, table, of_gradient=False)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        return _difference(grad, ctx.table, of_gradient=True), None


def _difference(values: Tensor, table: Incidence, *, of_gradient: bool) -> Tensor:
    values = values.contiguous()
    out = torch.empty_like(values)
    torch.ops.nha.neighbour_difference(values, table.starts, table.items, table.largest, of_gradient, out)
    return out


class _TangentOffsets(torch.autograd.Function):
    @staticmethod
    def forward(ctx, points: Tensor, normals: Tensor, ids: Tensor, offsets: Tensor) -> Tensor:
        points, offsets = points.contiguous(), offsets.contiguous()
        moved = torch.empty_like(points)
        torch.ops.nha.tangent_offsets(points, normals, ids, offsets, moved)
        ctx.save_for_backward(normals, ids)
        return moved

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        normals, ids = ctx.saved_tensors
        of_offsets = None
        if ctx.needs_input_grad[3]:
            grad = grad.contiguous()
            of_offsets = torch.empty_like(grad)
            torch.ops.nha.tangent_offsets_backward(normals, ids, grad, of_offsets)
        return grad, None, None, of_offsets


# --- twins in plain torch -----------------------------------------------------------------------------------------


def _sum_items(rows: Tensor, starts: Tensor, items: Tensor) -> Tensor:
    """Sums [N, V, C] of each vertex's items among rows [N, R, C]."""
    counts = starts.diff().long()
    vertex = torch.arange(len(counts)).repeat_interleave(counts)
    sums = rows.new_zeros(len(rows), len(counts), rows.shape[2])
    return sums.index_add(1, vertex, rows[:, items.long()])


def _normals_twin(
    vertices: Tensor,
    faces: Tensor,
    starts: Tensor,
    items: Tensor,
    largest: int,
    eps: float,
    normals: Tensor,
    lengths: Tensor,
) -> None:
    a, b, c = vertices[:, faces].unbind(2)
    sums = _sum_items(torch.linalg.cross(b - a, c - a), starts, items // 3)
    lengths.copy_(torch.linalg.vector_norm(sums, dim=2))
    normals.copy_(sums / lengths.clamp_min(eps)[..., None])


def _unit_backward_twin(
    normals: Tensor, lengths: Tensor, upstream: Tensor, eps: float, of_sums: Tensor
) -> None:
    along = (normals * upstream).sum(2) * (lengths > eps)
    of_sums.copy_((upstream - normals * along[..., None]) / lengths.clamp_min(eps)[..., None])


def _normals_backward_twin(
    vertices: Tensor,
    faces: Tensor,
    starts: Tensor,
    items: Tensor,
    largest: int,
    of_sums: Tensor,
    gradient: Tensor,
) -> None:
    a, b, c = vertices[:, faces].unbind(2)
    of_cross = of_sums[:, faces].sum(2)
    of_corners = torch.stack([torch.linalg.cross(p, of_cross) for p in (b - c, c - a, a - b)], 2)
    gradient.zero_().index_add_(1, faces.flatten(), of_corners.flatten(1, 2))


def _difference_twin(
    values: Tensor, starts: Tensor, items: Tensor, largest: int, of_gradient: bool, out: Tensor
) -> None:
    count = starts.diff()[None, :, None]
    if of_gradient:
        sums = _sum_items(values / count.clamp_min(1), starts, items)
    else:
        sums = _sum_items(values, starts, items) / count.clamp_min(1)
    out.copy_(sums - values * count.clamp_max(1))


def _axes(normals: Tensor) -> tuple[Tensor, Tensor]:
    """The first two axes [N, K, 3] of the tangent frames of unit normals."""
    x, _, z = normals.unbind(2)
    e_x = torch.stack([z, torch.zeros_like(x), -x], 2)
    length = torch.linalg.vector_norm(e_x, dim=2, keepdim=True)
    fallback = torch.tensor([0.0, 0.0, 1.0]).expand_as(e_x)
    e_x = torch.where(length < _SHORTEST_AXIS, fallback, e_x / length.clamp_min(_SHORTEST_AXIS))
    return e_x, torch.linalg.cross(normals, e_x)


def _offsets_twin(points: Tensor, normals: Tensor, ids: Tensor, offsets: Tensor, moved: Tensor) -> None:
    own = normals[:, ids]
    e_x, e_y = _axes(own)
    moved.copy_(points + e_x * offsets[..., :1] + e_y * offsets[..., 1:2] + own * offsets[..., 2:])


def _offsets_backward_twin(normals: Tensor, ids: Tensor, upstream: Tensor, of_offsets: Tensor) -> None:
    own = normals[:, ids]
    for k, axis in enumerate((*_axes(own), own)):
        of_offsets[..., k] = (axis * upstream).sum(2)


register_launches(
    "nha.core.mesh_triton",
    {
        "vertex_normals(Tensor vertices, Tensor faces, Tensor starts, Tensor items, int largest, float eps, "
        "Tensor(a!) normals, Tensor(b!) lengths) -> ()": _normals_twin,
        "unit_backward(Tensor normals, Tensor lengths, Tensor upstream, float eps, Tensor(a!) of_sums) -> ()": (
            _unit_backward_twin
        ),
        "vertex_normals_backward(Tensor vertices, Tensor faces, Tensor starts, Tensor items, int largest, "
        "Tensor of_sums, Tensor(a!) gradient) -> ()": _normals_backward_twin,
        "neighbour_difference(Tensor values, Tensor starts, Tensor items, int largest, bool of_gradient, "
        "Tensor(a!) out) -> ()": _difference_twin,
        "tangent_offsets(Tensor points, Tensor normals, Tensor ids, Tensor offsets, Tensor(a!) moved) -> ()": (
            _offsets_twin
        ),
        "tangent_offsets_backward(Tensor normals, Tensor ids, Tensor upstream, Tensor(a!) of_offsets) -> ()": (
            _offsets_backward_twin
        ),
    },
)
