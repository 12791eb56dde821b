"""Terms on the surface itself: Laplacian, edge lengths, consistency over time. `docs/method.md`, section 4."""

from __future__ import annotations

import torch
from torch import Tensor

from nha.core.mesh import corner_values, neighbour_mean_difference, unique_edges
from nha.core.processes import gathered, n_processes
from nha.losses.inputs import LossInputs
from nha.losses.shapes import expect_mask, expect_shape

LONG_EDGE = 1.5  # an edge counts when it exceeds the mean by at least this many mean lengths


def laplacian_loss(vertices: Tensor, plain_vertices: Tensor, edges: Tensor, vertex_weight: Tensor) -> Tensor:
    """How far the offsets change the uniform graph Laplacian of the mesh: a weighted sum of squares over N.

    vertices: [N, V, 3] metres with offsets; plain_vertices: [N, V, 3] without (no gradient flows to them);
    edges: [E, 2] (`edges_without_part` leaves the eyeballs out); vertex_weight: [V] (`part_weights`). Returns
    a scalar.
    """
    n, n_vertices, _ = vertices.shape
    expect_shape("plain_vertices", plain_vertices, n, n_vertices, 3)
    expect_shape("vertex_weight", vertex_weight, n_vertices)
    # no gradient to the plain mesh, which is the reference; the Laplacian is linear, so one evaluation is enough
    displacement = vertices - plain_vertices.detach()
    change = neighbour_mean_difference(displacement, edges)
    return (change.square().sum(-1) * vertex_weight).sum() / n


def edge_length_loss(vertices: Tensor, edges: Tensor) -> Tensor:
    """How much over-long edges exceed the frame's mean length; only those above 2.5 times the mean count.

    vertices: [N, V, 3] metres with offsets; edges: [E, 2], those to watch (`edges_touching_part` of the
    scalp). Returns a scalar, the mean over edges and frames; 0 without edges.
    """
    if len(edges) == 0:
        return vertices.sum() * 0
    start, end = corner_values(vertices, edges).unbind(2)
    length = (end - start).norm(dim=-1)  # [N, E]
    # a constant: otherwise stretching all edges would reduce the loss
    mean_length = length.mean(1, keepdim=True).detach()
    difference = (length - mean_length).abs()
    return torch.where(difference < LONG_EDGE * mean_length, 0.0, difference).mean()


def surface_consistency_loss(offsets: Tensor, partner: Tensor) -> Tensor:
    """L1 between a frame's offsets and another frame's: a penalty on offsets that change with the pose.

    offsets: [N, V, 3] metres in the vertices' tangent frames; partner: [N] long, another frame of the batch
    for each (drawn by the caller), counted over all processes where the batch is spread. The partner is
    detached. Returns the sum over vertices and axes over N, 0 if N is 1.
    """
    n = len(offsets)
    expect_shape("partner", partner, n)
    if n * n_processes() == 1:
        return offsets.sum() * 0
    return (offsets - gathered(offsets)[partner]).abs().sum() / n


def edges_without_part(faces: Tensor, in_part: Tensor) -> Tensor:
    """The edges of all faces without a corner in the part: [F, 3] and bool [V] give [E, 2]."""
    expect_mask("in_part", in_part)
    return unique_edges(faces[~in_part[faces].any(1)])


def edges_touching_part(faces: Tensor, in_part: Tensor) -> Tensor:
    """The edges with at least one end in the part: [F, 3] and bool [V] give [E, 2]."""
    expect_mask("in_part", in_part)
    edges = unique_edges(faces)
    return edges[in_part[edges].any(1)]


def laplacian_term(inputs: LossInputs) -> Tensor:
    """The Laplacian loss of a rendered batch."""
    s, mesh = inputs.rendering.surface, inputs.mesh
    return laplacian_loss(s.vertices, s.plain_vertices, mesh.laplacian_edges, mesh.vertex_weight)


def edge_length_term(inputs: LossInputs) -> Tensor:
    """The edge length loss of a rendered batch, over the edges of the scalp."""
    return edge_length_loss(inputs.rendering.surface.vertices, inputs.mesh.scalp_edges)


def consistency_term(inputs: LossInputs) -> Tensor:
    """The surface consistency loss of a rendered batch."""
    return surface_consistency_loss(inputs.rendering.surface.offsets, inputs.partner)
