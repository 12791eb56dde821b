"""Rotations of the joints with hand-written gradients, against the plain form."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nha.core.device import accelerator_path
from nha.core.types import HeadParams
from nha.head import joint_limits, lbs
from nha.head.joint_rotations import joint_rotations
from op_counter import OpCounter


def head_params(scale: float, dtype: torch.dtype) -> HeadParams:
    torch.manual_seed(0)
    sizes = {"shape": 2, "expr": 2, "rotation": 3, "translation": 3, "neck": 3, "jaw": 3, "eyes": 6}
    values = {name: (scale * torch.randn(3, size, dtype=dtype)) for name, size in sizes.items()}
    return HeadParams(**{name: value.requires_grad_() for name, value in values.items()})


def plain(params: HeadParams) -> Tensor:
    angles = (f(p) for f, p in zip(LIMITED, (params.neck, params.jaw, params.eyes), strict=True))
    return lbs.joint_rotations(params.rotation, *angles)


LIMITED = (joint_limits.neck_angles, joint_limits.jaw_angles, joint_limits.eyes_angles)


@pytest.mark.parametrize("scale", [0.0, 1e-4, 1.0])
def test_values_and_gradients_equal_the_plain_form(scale) -> None:
    params = head_params(scale, torch.float64)
    fast, slow = joint_rotations(params), plain(params)
    torch.testing.assert_close(fast, slow)
    inputs = (params.rotation, params.neck, params.jaw, params.eyes)
    upstream = torch.randn_like(slow)
    wanted = torch.autograd.grad(slow, inputs, upstream)
    for ours, theirs in zip(torch.autograd.grad(fast, inputs, upstream), wanted, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_float32_values_equal_the_plain_form_to_the_bit() -> None:
    params = head_params(1.0, torch.float32)
    assert torch.equal(joint_rotations(params), plain(params))


def matrices_and_gradients(
    function, scale: float, dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> list[Tensor]:
    drawn = head_params(scale, torch.float32)
    inputs = [value.detach().to(dtype) for value in (drawn.rotation, drawn.neck, drawn.jaw, drawn.eyes)]
    names = ("rotation", "neck", "jaw", "eyes")
    params = drawn.replace(
        **dict(zip(names, (value.to(device).requires_grad_() for value in inputs), strict=True))
    )
    matrices = function(params)
    upstream = torch.randn(matrices.shape, generator=torch.Generator().manual_seed(1)).to(matrices)
    gradients = torch.autograd.grad(matrices, [getattr(params, name) for name in names], upstream)
    return [value.cpu().double() for value in (matrices.detach(), *gradients)]


def assert_as_exact_as_plain(found: list[Tensor], scale: float) -> None:
    """Small rotations lose digits in float32; the fused form may lose about as many as the plain one."""
    exact = matrices_and_gradients(plain, scale, torch.float64)
    usual = matrices_and_gradients(plain, scale)
    for ours, theirs, wanted in zip(found, usual, exact, strict=True):
        error, plain_error = ((values - wanted).abs().max().item() for values in (ours, theirs))
        assert error <= 3 * plain_error + 1e-6


@pytest.mark.parametrize("scale", [0.0, 1e-4, 1.0, 30.0])
def test_fused_rotations_equal_the_plain_form(scale) -> None:
    with accelerator_path():
        found = matrices_and_gradients(joint_rotations, scale)
    assert_as_exact_as_plain(found, scale)


def test_fused_rotations_are_one_operation_each_way() -> None:
    params = head_params(1.0, torch.float32)
    with accelerator_path(), OpCounter() as counter:
        matrices = joint_rotations(params)
    assert counter.totals()["ops"] == 1
    upstream = torch.ones_like(matrices)
    with OpCounter() as counter:
        torch.autograd.grad(matrices, [params.rotation, params.eyes], upstream)
    assert counter.totals()["ops"] == 1


@pytest.mark.triton
@pytest.mark.parametrize("scale", [0.0, 1e-4, 1.0, 30.0])
def test_kernels_equal_the_plain_form(kernel_device, scale) -> None:
    with accelerator_path():
        found = matrices_and_gradients(joint_rotations, scale, device=kernel_device)
    assert_as_exact_as_plain(found, scale)
