"""Rotations of the joints with hand-written gradients, against the plain form."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nha.core.types import HeadParams
from nha.head import joint_limits, lbs
from nha.head.joint_rotations import joint_rotations


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
