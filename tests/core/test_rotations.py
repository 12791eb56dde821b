import math

import pytest
import torch
from scipy.spatial.transform import Rotation

from nha.core.rotations import quaternion, rotation_matrix, rotation_vector


@pytest.fixture
def vectors() -> torch.Tensor:
    return torch.randn(64, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_rotation_matrix_agrees_with_scipy(vectors):
    theirs = torch.from_numpy(Rotation.from_rotvec(vectors.numpy()).as_matrix())
    torch.testing.assert_close(rotation_matrix(vectors), theirs, atol=5e-8, rtol=0)  # the guard adds 1e-8


def test_rotation_matrix_at_zero_is_identity_with_finite_gradient():
    zero = torch.zeros(1, 3, requires_grad=True)
    matrix = rotation_matrix(zero)
    torch.testing.assert_close(matrix[0], torch.eye(3))
    matrix[0, 1, 0].backward()
    assert torch.isfinite(zero.grad).all()
    assert zero.grad[0, 2] != 0


def test_rotation_matrix_gradient(vectors):
    assert torch.autograd.gradcheck(rotation_matrix, vectors[:4].clone().requires_grad_())


@pytest.mark.parametrize("angle", [1e-9, 1e-3, 1.0, 3.0, math.pi - 1e-6, math.pi])
def test_rotation_vector_inverts_up_to_half_a_turn(angle):
    axes = torch.nn.functional.normalize(torch.tensor([[1.0, 0, 0], [0, 1, 0], [1, -2, 3]]).double(), dim=1)
    matrix = torch.from_numpy(Rotation.from_rotvec(axes.numpy() * angle).as_matrix())
    vector = rotation_vector(matrix)
    assert (vector.norm(dim=1) <= math.pi + 1e-9).all()
    back = torch.from_numpy(Rotation.from_rotvec(vector.numpy()).as_matrix())
    torch.testing.assert_close(back, matrix, atol=1e-7, rtol=0)


def test_quaternion_is_unit_and_of_that_rotation(vectors):
    matrix = torch.from_numpy(Rotation.from_rotvec(2 * vectors.numpy()).as_matrix())
    q = quaternion(matrix)
    theirs = torch.from_numpy(Rotation.from_matrix(matrix.numpy()).as_quat(scalar_first=True))
    torch.testing.assert_close((q * theirs).sum(1).abs(), torch.ones(64).double())
