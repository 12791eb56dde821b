"""Rotations by fused kernels: their twins against the plain functions, the kernels against their twins."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from nha.core.device import accelerator_path
from nha.core.rotations import rotation_matrix, rotation_vector
from op_counter import OpCounter

N = 40  # more than one program's lanes


def axis_angles() -> Tensor:
    """Rotations of all sizes; the last ones are zero, and turns by nearly pi about each axis."""
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(N, 3, generator=generator)
    vectors[-4] = 0
    vectors[-3:] = math.pi * 0.999 * torch.eye(3)
    return vectors


def matrices() -> Tensor:
    return torch.from_numpy(Rotation.from_rotvec(axis_angles().numpy()).as_matrix()).float()


FUNCTIONS = pytest.mark.parametrize(
    "function, inputs", [(rotation_matrix, axis_angles), (rotation_vector, matrices)]
)


def value_and_gradient(function, values: Tensor) -> tuple[Tensor, Tensor]:
    values = values.requires_grad_()
    result = function(values)
    upstream = torch.randn(result.shape, generator=torch.Generator().manual_seed(1)).to(result.device)
    return result.detach().cpu(), torch.autograd.grad(result, values, upstream)[0].cpu()


@FUNCTIONS
def test_fused_equals_plain(function, inputs) -> None:
    expected = value_and_gradient(function, inputs())
    with accelerator_path():
        found = value_and_gradient(function, inputs())
        assert value_and_gradient(function, inputs().view(2, -1, *inputs().shape[1:]))[0].shape[:2] == (
            2,
            N // 2,
        )
    torch.testing.assert_close(found[0], expected[0], atol=2e-6, rtol=2e-6)
    torch.testing.assert_close(found[1], expected[1], atol=2e-5, rtol=2e-5)


@FUNCTIONS
def test_fused_is_one_operation_each_way(function, inputs) -> None:
    values = inputs().requires_grad_()
    with accelerator_path(), OpCounter() as counter:
        result = function(values)
    assert counter.totals()["ops"] == 1
    upstream = torch.ones_like(result)
    with OpCounter() as counter:
        torch.autograd.grad(result, values, upstream)
    assert counter.totals()["ops"] == 1


@pytest.mark.triton
@FUNCTIONS
def test_kernels_equal_plain(kernel_device, function, inputs) -> None:
    expected = value_and_gradient(function, inputs())
    with accelerator_path():
        found = value_and_gradient(function, inputs().to(kernel_device))
    torch.testing.assert_close(found[0], expected[0], atol=2e-6, rtol=2e-6)
    torch.testing.assert_close(found[1], expected[1], atol=2e-5, rtol=2e-5)
