"""Mesh functions by fused kernels against plain torch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nha.core.device import accelerator_path
from nha.core.mesh import moved_in_frames, neighbour_mean_difference, unique_edges, vertex_normals
from op_counter import OpCounter

VERTICES = 150  # more than one program's


def results(device: str) -> list[Tensor]:
    """Values and gradients of two configurations of a mesh with a vertex without faces and one in a face twice."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(device)

    faces = torch.randint(1, VERTICES, (300, 3), generator=generator)
    faces[0] = torch.tensor([3, 3, 4])  # without area
    edges = unique_edges(faces[faces[:, 0] != faces[:, 1]])
    faces, edges = faces.to(device), edges[edges[:, 0] != edges[:, 1]].to(device)
    vertices = draw(2, VERTICES, 3).requires_grad_()
    normals = vertex_normals(vertices, faces)
    differences = neighbour_mean_difference(vertices, edges)
    ids = torch.arange(0, VERTICES, 3).to(device)
    offsets = draw(2, len(ids), 3).requires_grad_()
    axes = normals.detach().clone()
    axes[0, 3] = torch.tensor([0.0, 1.0, 0.0])  # parallel to the axis of the frames
    moved = moved_in_frames(vertices[:, ids], axes, ids, offsets)
    outputs = [normals, differences, moved]
    total = sum((output * draw(*output.shape)).sum() for output in outputs)
    values = (*outputs, *torch.autograd.grad(total, [vertices, offsets]))
    return [value.detach().cpu() for value in values]


def assert_equals_plain(found: list[Tensor]) -> None:
    for ours, plain in zip(found, results("cpu"), strict=True):
        assert torch.isfinite(ours).all()
        torch.testing.assert_close(ours, plain, atol=2e-5, rtol=2e-5)


def test_fused_equals_plain() -> None:
    with accelerator_path():
        found = results("cpu")
    assert_equals_plain(found)


def test_tables_of_faces_are_made_once() -> None:
    faces = torch.tensor([[0, 1, 2], [2, 1, 3]])
    vertices = torch.randn(1, 4, 3, requires_grad=True)
    with accelerator_path():
        vertex_normals(vertices, faces)
        with OpCounter() as counter:
            normals = vertex_normals(vertices, faces)
    assert counter.totals()["ops"] == 1
    upstream = torch.ones_like(normals)
    with OpCounter() as counter:
        torch.autograd.grad(normals, vertices, upstream)
    assert counter.totals()["ops"] == 2


@pytest.mark.triton
def test_kernels_equal_plain(kernel_device) -> None:
    with accelerator_path():
        found = results(kernel_device)
    assert_equals_plain(found)
