"""Laplacian, edge lengths and consistency of the surface."""

from __future__ import annotations

import pytest
import torch

from nha.core.mesh import unique_edges
from nha.losses.surface import (
    edge_length_loss,
    edges_touching_part,
    edges_without_part,
    laplacian_loss,
    surface_consistency_loss,
)

# a fan: vertex 0 in the middle of a square of 1..4, and a triangle apart
FACES = torch.tensor([[0, 1, 2], [0, 2, 3], [0, 3, 4], [0, 4, 1], [5, 6, 7]])
EDGES = unique_edges(FACES)
N_VERTICES = 8
ONES = torch.ones(N_VERTICES, dtype=torch.float64)


def random_vertices(n: int = 2, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, N_VERTICES, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def laplacian_twin(vertices: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
    """Mean of neighbours minus vertex with a dense adjacency matrix."""
    adjacency = torch.zeros(N_VERTICES, N_VERTICES, dtype=torch.float64)
    for a, b, c in faces.tolist():
        for i, j in ((a, b), (b, c), (c, a)):
            adjacency[i, j] = adjacency[j, i] = 1
    degree = adjacency.sum(1)
    mean = adjacency / degree.clamp_min(1)[:, None]
    return mean @ vertices - (degree > 0)[:, None] * vertices


def test_laplacian_against_a_dense_matrix() -> None:
    moved, plain = random_vertices(), random_vertices(seed=1)
    weight = torch.arange(N_VERTICES, dtype=torch.float64)
    change = laplacian_twin(moved, FACES) - laplacian_twin(plain, FACES)
    expected = (change.square().sum(-1) * weight).sum() / 2
    assert laplacian_loss(moved, plain, EDGES, weight).item() == pytest.approx(expected.item())


def test_laplacian_by_hand() -> None:
    plain = random_vertices(1)
    moved = plain.clone()
    moved[0, 0, 2] += 0.4  # itself -0.4; its four neighbours (degree 3) +0.4 / 3 each
    assert laplacian_loss(moved, plain, EDGES, ONES).item() == pytest.approx(0.16 + 4 * 0.16 / 9)


def test_an_unchanged_or_shifted_surface_costs_nothing() -> None:
    plain = random_vertices()
    assert laplacian_loss(plain, plain, EDGES, ONES).item() == 0
    assert laplacian_loss(plain + 3.0, plain, EDGES, ONES).item() < 1e-24


def test_laplacian_gradient_spares_the_plain_mesh() -> None:
    plain, weight = random_vertices(seed=1).requires_grad_(), torch.rand(N_VERTICES, dtype=torch.float64)
    moved = random_vertices().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: laplacian_loss(x, plain.detach(), EDGES, weight), moved)
    laplacian_loss(moved, plain, EDGES, weight).backward()
    assert plain.grad is None


def test_a_batch_of_laplacians_is_the_mean_of_its_frames() -> None:
    moved, plain = random_vertices(), random_vertices(seed=1)
    single = [laplacian_loss(moved[i : i + 1], plain[i : i + 1], EDGES, ONES).item() for i in (0, 1)]
    assert laplacian_loss(moved, plain, EDGES, ONES).item() == pytest.approx(sum(single) / 2)


def line(*positions: float) -> torch.Tensor:
    x = torch.tensor(positions, dtype=torch.float64)
    return torch.stack([x, 0 * x, 0 * x], -1)[None]


def test_only_long_edges_count() -> None:
    edges = torch.tensor([[0, 1], [1, 2], [2, 3], [3, 4], [4, 5]])
    vertices = line(0, 1, 2, 3, 4, 10).requires_grad_()  # mean length 2; 6 exceeds it by 4 >= 1.5 * 2
    loss = edge_length_loss(vertices, edges)
    loss.backward()
    assert loss.item() == pytest.approx(4 / 5)
    # the mean is a constant, so only the long edge pulls at its ends
    assert vertices.grad[0, :, 0].tolist() == pytest.approx([0, 0, 0, 0, -1 / 5, 1 / 5])
    assert edge_length_loss(line(0, 1, 2, 3, 4, 7), edges).item() == 0  # 3 against a mean of 1.4


def test_the_mean_length_is_that_of_the_frame() -> None:
    edges = torch.tensor([[0, 1], [1, 2], [2, 3], [3, 4], [4, 5]])
    frames = torch.cat([line(0, 1, 2, 3, 4, 10), 10 * line(0, 1, 2, 3, 4, 5)])
    assert edge_length_loss(frames, edges).item() == pytest.approx(4 / 5 / 2)


def test_edges_of_equal_length_cost_nothing() -> None:
    assert edge_length_loss(line(0, 1, 2, 3), torch.tensor([[0, 1], [1, 2], [2, 3]])).item() == 0


def test_edge_gradient_with_a_constant_mean() -> None:
    # the derivative of the same cost with the mean length as a number, which the loss detaches on purpose
    vertices = 0.1 * random_vertices()
    vertices[:, 5] += 10  # two edges much longer than the mean
    vertices.requires_grad_()
    edge_length_loss(vertices, EDGES).backward()
    start, end = vertices.detach()[:, EDGES].unbind(2)
    mean = (end - start).norm(dim=-1).mean(1, keepdim=True)

    def cost(x: torch.Tensor) -> torch.Tensor:
        start, end = x[:, EDGES].unbind(2)
        excess = (end - start).norm(dim=-1) - mean
        return torch.where(excess.abs() >= 1.5 * mean, excess.abs(), 0.0).mean()

    twin = vertices.detach().requires_grad_()
    (expected,) = torch.autograd.grad(cost(twin), twin)
    assert torch.autograd.gradcheck(cost, twin)
    assert expected.any()
    torch.testing.assert_close(vertices.grad, expected)


@pytest.mark.parametrize("loss", [edge_length_loss, lambda x, edges: laplacian_loss(x, 0 * x, edges, ONES)])
def test_no_edges_is_zero_without_gradient(loss) -> None:
    vertices = random_vertices().requires_grad_()
    value = loss(vertices, torch.zeros(0, 2, dtype=torch.long))
    value.backward()
    assert value.item() == 0
    assert not vertices.grad.any()


def test_consistency_by_hand_and_its_one_sided_gradient() -> None:
    offsets = torch.zeros(3, 2, 3, dtype=torch.float64)
    offsets[0, 0, 0], offsets[1, 1, 2], offsets[2, 0, 1] = 1.0, -2.0, 4.0
    offsets.requires_grad_()
    loss = surface_consistency_loss(offsets, torch.tensor([1, 0, 0]))
    loss.backward()
    assert loss.item() == pytest.approx((3 + 3 + 5) / 3)
    # frame 0 is the partner of both others: only its own comparison, with frame 1, gives it a gradient
    expected = torch.zeros(2, 3, dtype=torch.float64)
    expected[0, 0], expected[1, 2] = 1 / 3, 1 / 3
    assert torch.allclose(offsets.grad[0], expected)


def test_consistency_gradient_with_a_constant_partner() -> None:
    offsets, partner = random_vertices(3), torch.tensor([1, 2, 0])
    others = offsets[partner].clone()
    offsets.requires_grad_()
    surface_consistency_loss(offsets, partner).backward()
    twin = offsets.detach().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: (x - others).abs().sum() / 3, twin)
    (expected,) = torch.autograd.grad((twin - others).abs().sum() / 3, twin)
    torch.testing.assert_close(offsets.grad, expected)


def test_consistency_of_a_batch_is_the_mean_of_its_frames() -> None:
    offsets, partner = random_vertices(3), torch.tensor([1, 2, 0])
    per_frame = [(offsets[i] - offsets[j]).abs().sum().item() for i, j in enumerate(partner)]
    assert surface_consistency_loss(offsets, partner).item() == pytest.approx(sum(per_frame) / 3)


def test_equal_or_single_frames_are_consistent() -> None:
    equal = random_vertices(1).expand(3, -1, -1)
    assert surface_consistency_loss(equal, torch.tensor([1, 2, 0])).item() == 0
    single = random_vertices(1).requires_grad_()
    loss = surface_consistency_loss(single, torch.tensor([0]))
    loss.backward()
    assert loss.item() == 0
    assert not single.grad.any()


def test_edges_by_part() -> None:
    in_part = torch.zeros(N_VERTICES, dtype=torch.bool)
    in_part[1] = True
    assert edges_without_part(FACES, in_part).tolist() == [
        [0, 2], [0, 3], [0, 4], [2, 3], [3, 4], [5, 6], [5, 7], [6, 7],
    ]  # fmt: skip
    assert edges_touching_part(FACES, in_part).tolist() == [[0, 1], [1, 2], [1, 4]]


def test_wrong_shapes_and_types_are_named() -> None:
    with pytest.raises(ValueError, match="in_part is torch.uint8"):
        edges_without_part(FACES, torch.zeros(N_VERTICES, dtype=torch.uint8))
    with pytest.raises(ValueError, match="plain_vertices"):
        laplacian_loss(random_vertices(), random_vertices(1), EDGES, torch.ones(N_VERTICES))
    with pytest.raises(ValueError, match="vertex_weight"):
        laplacian_loss(random_vertices(), random_vertices(), EDGES, torch.ones(3))
    with pytest.raises(ValueError, match="partner"):
        surface_consistency_loss(random_vertices(), torch.tensor([0]))
