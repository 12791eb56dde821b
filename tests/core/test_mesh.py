import numpy as np
import pytest
import torch

from nha.core import mesh


@pytest.fixture
def blob() -> tuple[torch.Tensor, torch.Tensor]:
    """Two random configurations of an octahedron: [2, 6, 3] float64 and [8, 3]."""
    corners = torch.tensor([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1.0]]).double()
    faces = torch.tensor(
        [[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]]
    )
    noise = torch.randn(2, 6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return corners + 0.1 * noise, faces


def slow_vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    normals = np.zeros_like(vertices)
    for a, b, c in faces:
        normal = np.cross(vertices[b] - vertices[a], vertices[c] - vertices[a])
        for corner in (a, b, c):
            normals[corner] += normal
    return normals / np.linalg.norm(normals, axis=1, keepdims=True)


def test_vertex_normals_equal_a_loop_and_point_outwards(blob):
    vertices, faces = blob
    normals = mesh.vertex_normals(vertices, faces)
    slow = np.stack([slow_vertex_normals(v, faces.numpy()) for v in vertices.numpy()])
    np.testing.assert_allclose(normals.numpy(), slow, atol=1e-12)
    assert ((normals * vertices).sum(-1) > 0).all()


def test_vertex_normals_gradient(blob):
    vertices, faces = blob
    assert torch.autograd.gradcheck(lambda v: mesh.vertex_normals(v, faces), vertices.requires_grad_())


def test_a_vertex_without_faces_has_no_normal(blob):
    vertices, faces = blob
    lonely = torch.cat([vertices, torch.ones(2, 1, 3).double()], 1)
    assert (mesh.vertex_normals(lonely, faces)[:, 6] == 0).all()


def test_corner_values_equal_indexing_with_gradient(blob):
    values, faces = blob
    values.requires_grad_()
    weights = torch.randn(2, 8, 3, 3, dtype=torch.float64)
    fast = torch.autograd.grad((mesh.corner_values(values, faces) * weights).sum(), values)[0]
    slow = torch.autograd.grad((values[:, faces] * weights).sum(), values)[0]
    torch.testing.assert_close(fast, slow)


def test_unique_edges_of_an_octahedron(blob):
    _, faces = blob
    edges = mesh.unique_edges(faces)
    assert len(edges) == 12
    assert (edges[:, 0] < edges[:, 1]).all()
    assert len({tuple(edge) for edge in edges.tolist()}) == 12


def test_tangent_frames_are_right_handed_and_orthonormal():
    normals = torch.randn(1, 50, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    normals = torch.nn.functional.normalize(normals, dim=-1)
    frames = mesh.tangent_frames(normals)
    torch.testing.assert_close(frames.mT @ frames, torch.eye(3).double().expand(1, 50, 3, 3))
    torch.testing.assert_close(torch.linalg.det(frames), torch.ones(1, 50).double())
    torch.testing.assert_close(frames[..., 2], normals)
    assert (frames[..., 1, 0].abs() < 1e-12).all()  # e_x is horizontal


@pytest.mark.parametrize("up", [1.0, -1.0])
def test_tangent_frame_of_a_normal_along_y_is_defined(up):
    # in the published code the frame is degenerate there
    frames = mesh.tangent_frames(torch.tensor([[[0.0, up, 0.0]]]))
    torch.testing.assert_close(frames[0, 0, :, 0], torch.tensor([0.0, 0.0, 1.0]))
    torch.testing.assert_close(torch.linalg.det(frames), torch.ones(1, 1))


def test_laplacian_is_mean_of_neighbours_minus_self(blob):
    values, faces = blob
    edges = mesh.unique_edges(faces)
    neighbours = [
        sorted({b for a, b in [*edges.tolist(), *edges.flip(1).tolist()] if a == i}) for i in range(6)
    ]
    slow = torch.stack([values[:, ids].mean(1) for ids in neighbours], 1) - values
    torch.testing.assert_close(mesh.neighbour_mean_difference(values, edges), slow)


def test_laplacian_of_an_isolated_vertex_is_zero(blob):
    values, faces = blob
    edges = mesh.unique_edges(faces)
    lonely = torch.cat([values, torch.ones(2, 1, 3).double()], 1)
    assert (mesh.neighbour_mean_difference(lonely, edges)[:, 6] == 0).all()
    assert (mesh.neighbour_mean(lonely, edges, include_self=True)[:, 6] == 1).all()


def test_sums_of_rows_equal_index_add():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(2, 500, 3, generator=generator, dtype=torch.float64)
    target = torch.randint(0, 40, (500,), generator=generator)
    target[target == 7] = 8  # a target without rows
    slow = torch.zeros(2, 40, 3, dtype=torch.float64).index_add(1, target, rows)
    assert torch.allclose(mesh.sum_rows(rows, target, 40), slow, rtol=0, atol=1e-12)
    assert (slow[:, 7] == 0).all()
    rows = rows[:, :20].requires_grad_()
    assert torch.autograd.gradcheck(lambda r: mesh.sum_rows(r, target[:20], 40), rows)


def test_gradient_of_vertex_normals_equals_that_of_the_plain_form():
    torch.manual_seed(0)
    faces = torch.tensor([[0, 1, 2], [0, 2, 3], [4, 4, 5]])  # the last one has no area
    vertices = torch.randn(2, 6, 3, dtype=torch.float64, requires_grad=True)
    sums = torch.zeros(2, 6, 3, dtype=torch.float64)
    a, b, c = vertices[:, faces].unbind(2)
    cross = torch.linalg.cross(b - a, c - a)
    for corner in range(3):
        sums = sums.index_add(1, faces[:, corner], cross)
    plain = sums / sums.norm(dim=-1, keepdim=True).clamp_min(0.7)  # some sums are shorter, some longer
    fast = mesh.vertex_normals(vertices, faces, eps=0.7)
    torch.testing.assert_close(fast, plain)
    upstream = torch.randn_like(plain)
    (wanted,) = torch.autograd.grad(plain, vertices, upstream)
    torch.testing.assert_close(torch.autograd.grad(fast, vertices, upstream)[0], wanted)
