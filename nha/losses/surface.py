"""Surface terms: Laplacian, edge lengths, consistency between frames. `docs/method.md`, section 4."""

from __future__ import annotations

import torch
from torch import Tensor

from nha.core.mesh import corner_values, neighbour_mean_difference, unique_edges
from nha.core.processes import gathered, n_processes
from nha.losses.inputs import LossInputs
from nha.losses.shapes import expect_mask, expect_shape

LONG_EDGE = 1.5  # an edge counts when it exceeds the mean by at least this many mean lengths


def laplacian_loss(vertices: Tensor, plain_vertices: Tensor, edges: Tensor, vertex_weight: Tensor) -> Tensor:
    """Weighted sum of squares of the change that the offsets make to the uniform graph Laplacian of the mesh.

    Args:
        vertices: [N, V, 3] metres, with offsets.
        plain_vertices: [N, V, 3] metres, without offsets; they get no gradient.
        edges: [E, 2] vertex ids, without the eyeballs (`edges_without_part`).
        vertex_weight: [V], see `part_weights`.

    Returns:
        A scalar: sum over vertices and axes, mean over frames.
    """
    n, n_vertices, _ = vertices.shape
    expect_shape("plain_vertices", plain_vertices, n, n_vertices, 3)
    expect_shape("vertex_weight", vertex_weight, n_vertices)
    # detached, because the plain mesh is the reference; the Laplacian is linear, so one evaluation is enough
    displacement = vertices - plain_vertices.detach()
    change = neighbour_mean_difference(displacement, edges)
    return (change.square().sum(-1) * vertex_weight).sum() / n


def edge_length_loss(vertices: Tensor, edges: Tensor) -> Tensor:
    """Excess of long edges over the mean length in the frame; edges below 2.5 times the mean length have zero loss.

    Args:
        vertices: [N, V, 3] metres, with offsets.
        edges: [E, 2] vertex ids, those at the scalp (`edges_touching_part`).

    Returns:
        A scalar, the mean over all edges and frames; 0 without edges.
    """
    if len(edges) == 0:
        return vertices.sum() * 0
    start, end = corner_values(vertices, edges).unbind(2)
    length = (end - start).norm(dim=-1)  # [N, E]
    # detached, otherwise stretching all edges would reduce the loss
    mean_length = length.mean(1, keepdim=True).detach()
    difference = (length - mean_length).abs()
    return torch.where(difference < LONG_EDGE * mean_length, 0.0, difference).mean()


def surface_consistency_loss(offsets: Tensor, partner: Tensor) -> Tensor:
    """L1 between the offsets of each frame and those of another frame, which penalises pose-dependent offsets.

    The partner's offsets are detached.

    Args:
        offsets: [N, V, 3] metres in the vertices' tangent frames.
        partner: [N] long, another frame for each frame, numbered through the batches of all processes.

    Returns:
        A scalar: sum over vertices and axes, mean over frames; 0 for a single frame.
    """
    n = len(offsets)
    expect_shape("partner", partner, n)
    if n * n_processes() == 1:
        return offsets.sum() * 0
    return (offsets - gathered(offsets)[partner]).abs().sum() / n


def edges_without_part(faces: Tensor, in_part: Tensor) -> Tensor:
    """The edges [E, 2] of all faces [F, 3] without a corner in the part, bool [V]."""
    expect_mask("in_part", in_part)
    return unique_edges(faces[~in_part[faces].any(1)])


def edges_touching_part(faces: Tensor, in_part: Tensor) -> Tensor:
    """The edges [E, 2] of faces [F, 3] with at least one end in the part, bool [V]."""
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
