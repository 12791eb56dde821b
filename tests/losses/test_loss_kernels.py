"""Landmark terms and priors by fused kernels against plain torch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from nha.core.device import accelerator_path
from nha.losses.landmarks import eye_closure_loss, landmark_loss
from nha.losses.priors import frame_prior, shape_prior
from op_counter import OpCounter

N = 70  # frames; their points and lids need more than one step of a program
SIZE = (96, 128)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def of_landmarks(device: str, columns: int = 3) -> tuple[Tensor, ...]:
    """One point lies at its target; points without confidence, which have no target, and lids do not count."""
    points, target = random(N, 68, columns) * 9, random(N, 68, 2, seed=1) * 9
    confidence = random(N, 68, seed=2).sigmoid()
    points[0, 0, :2] = target[0, 0]
    confidence[1], target[1] = 0, torch.nan
    points = points.to(device).requires_grad_()
    return landmark_loss(points, target.to(device), confidence.to(device), SIZE), points


def of_eyes(device: str, columns: int = 3) -> tuple[Tensor, ...]:
    points, heights, trust = (
        random(N, 68, columns) * 9,
        random(N, 2, seed=1).abs(),
        random(N, seed=2).sigmoid(),
    )
    points[0, 41] = points[0, 37]  # a closed eye
    trust[1], heights[2, 0] = 0, 0
    points = points.to(device).requires_grad_()
    return eye_closure_loss(points, heights.to(device), trust.to(device), SIZE[0]), points


def of_expression(device: str) -> tuple[Tensor, ...]:
    table = random(9, 100).to(device).requires_grad_()
    return frame_prior(torch.tensor([8, 0, 3, 0, 0], device=device), table), table


def of_pose(device: str) -> tuple[Tensor, ...]:
    tables = [random(9, size, seed=size).to(device).requires_grad_() for size in (3, 4, 6)]
    return frame_prior(torch.tensor([2, 7, 2], device=device), *tables), *tables


def of_shape(device: str) -> tuple[Tensor, ...]:
    table = random(1, 300).to(device).requires_grad_()
    return shape_prior(table), table


TERMS = [of_landmarks, of_eyes, of_expression, of_pose, of_shape]


def evaluated(term: Callable[..., tuple[Tensor, ...]], device: str) -> list[Tensor]:
    """The loss, and the gradients of three times the loss."""
    loss, *inputs = term(device)
    return [loss.detach().cpu(), *(gradient.cpu() for gradient in torch.autograd.grad(3 * loss, inputs))]


def assert_equals_plain(found: list[Tensor], term: Callable[..., tuple[Tensor, ...]]) -> None:
    for ours, plain in zip(found, evaluated(term, "cpu"), strict=True):
        torch.testing.assert_close(ours, plain, atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize("term", TERMS)
def test_fused_terms_equal_plain(term) -> None:
    with accelerator_path():
        found = evaluated(term, "cpu")
    assert_equals_plain(found, term)


@pytest.mark.parametrize("term", [of_landmarks, of_eyes])
def test_landmarks_may_lack_a_depth(term) -> None:
    with accelerator_path():
        loss, points = term("cpu", 2)
        gradient = torch.autograd.grad(loss, points)[0]
    plain, points = term("cpu", 2)
    torch.testing.assert_close(loss, plain, atol=1e-7, rtol=1e-5)
    torch.testing.assert_close(gradient, torch.autograd.grad(plain, points)[0], atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize("term", TERMS)
def test_a_term_is_one_operation_each_way(term) -> None:
    with accelerator_path():
        loss, *inputs = term("cpu")
        upstream = torch.ones_like(loss)
        with OpCounter() as counter:
            torch.autograd.grad(loss, inputs, upstream)
    assert counter.totals()["ops"] == 1


@pytest.mark.triton
@pytest.mark.parametrize("term", TERMS)
def test_kernels_equal_plain(kernel_device, term) -> None:
    with accelerator_path():
        found = evaluated(term, kernel_device)
    assert_equals_plain(found, term)
