"""Posing by fused kernels: their twins against the plain functions, the kernels against their twins."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from torch import Tensor

from nha.core.device import accelerator_path
from nha.core.rotations import rotation_matrix
from nha.core.types import HeadParams
from nha.head import pose_ops
from nha.head.model import HeadModel
from nha.head.skinning import skinning

PARENTS = (-1, 0, 1, 1, 1)


def posed(device: str, corners: int) -> list[Tensor]:
    """Feature and points of two heads, and the gradients of their sum with random weights."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(device)

    inputs = [draw(2, 5, 3), draw(2, 5, 3), draw(2, 3), draw(2, 150, 3)]
    inputs = [value.requires_grad_() for value in inputs]
    axis_angles, joints, translation, rest = inputs
    weights = draw(150, 5).softmax(1)
    corner_weights = draw(150 // corners, corners).softmax(1) if corners > 1 else None
    feature, place = skinning(
        rotation_matrix(axis_angles), joints, translation, PARENTS, weights, corner_weights
    )
    results = [feature, place(rest + feature.sum(1)[:, None, None] * 0.1), place(rest)]
    total = sum((result * draw(*result.shape)).sum() for result in results)
    return [value.detach().cpu() for value in (*results, *torch.autograd.grad(total, inputs))]


@pytest.mark.parametrize("corners", [1, 3])
def test_fused_posing_equals_plain(corners) -> None:
    expected = posed("cpu", corners)
    with accelerator_path():
        found = posed("cpu", corners)
    for ours, plain in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, plain, atol=2e-5, rtol=2e-5)


@pytest.mark.triton
@pytest.mark.parametrize("corners", [1, 3])
def test_kernels_equal_plain(kernel_device, corners) -> None:
    expected = posed("cpu", corners)
    with accelerator_path():
        found = posed(kernel_device, corners)
    for ours, plain in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, plain, atol=2e-5, rtol=2e-5)


def test_gradients_of_the_transforms_have_no_blocks_left_out(monkeypatch) -> None:
    with accelerator_path():
        expected = posed("cpu", 1)
        monkeypatch.setattr(pose_ops, "VERTICES", 7)
        found = posed("cpu", 1)
    for ours, whole in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, whole, atol=2e-5, rtol=2e-5)


def test_heads_and_landmarks_are_posed_as_exactly_as_in_plain_torch(head: HeadModel) -> None:
    generator = torch.Generator().manual_seed(0)
    neutral = head.neutral_params(3)
    names = [field.name for field in dataclasses.fields(HeadParams)]
    moved = {name: getattr(neutral, name) for name in names}
    moved = {
        name: 0.3 * torch.randn(value.shape, generator=generator) + value for name, value in moved.items()
    }

    def results(model: HeadModel) -> list[Tensor]:
        """Vertices with and without offsets, landmarks, and gradients of all parameters."""
        own = {name: value.to(model.template).clone().requires_grad_() for name, value in moved.items()}
        params = HeadParams(**own)
        both = model.pose(params, 1e-3 * torch.ones_like(model.template_normed).expand(3, -1, -1))
        points = model.plain_landmarks(params, slice(68))
        (both.vertices.square().sum() + both.plain_vertices.sum() + points.square().sum()).backward()
        values = [both.vertices, both.plain_vertices, points, *(own[name].grad for name in names)]
        return [value.detach().double() for value in values]

    exact, plain = results(copy.deepcopy(head).double()), results(head)
    with accelerator_path():
        fused = results(head)
    for wanted, ours, theirs in zip(exact, fused, plain, strict=True):
        error, usual = (float((values - wanted).abs().max()) for values in (ours, theirs))
        assert error <= 2 * usual + 1e-7 * float(wanted.abs().max())
