"""Regularisers of the learned corrections."""

from __future__ import annotations

import pytest
import torch

from nha.losses.priors import frame_prior, shape_prior

TABLE = torch.tensor([[1.0, 2.0], [3.0, 0.0], [5.0, 5.0]], dtype=torch.float64)
OTHER = torch.tensor([[1.0], [2.0], [4.0]], dtype=torch.float64)


def test_zero_corrections_cost_nothing() -> None:
    assert frame_prior(torch.tensor([0, 2]), 0 * TABLE, 0 * OTHER).item() == 0
    assert shape_prior(0 * TABLE[:1]).item() == 0


def test_shape_by_hand() -> None:
    assert shape_prior(torch.tensor([[3.0, -4.0]])).item() == 12.5


def test_a_frame_counts_once_and_tables_add_up() -> None:
    assert frame_prior(torch.tensor([1, 0, 1]), TABLE).item() == pytest.approx((5 + 9) / 2)
    assert frame_prior(torch.tensor([1, 0, 1]), TABLE, OTHER).item() == pytest.approx((5 + 9 + 1 + 4) / 2)


def test_a_batch_is_the_sum_of_its_different_frames() -> None:
    single = sum(frame_prior(torch.tensor([i]), TABLE).item() for i in (0, 2))
    assert frame_prior(torch.tensor([2, 0]), TABLE).item() == pytest.approx(single)


def test_no_frames_cost_nothing() -> None:
    table = TABLE.clone().requires_grad_()
    loss = frame_prior(torch.zeros(0, dtype=torch.long), table)
    loss.backward()
    assert loss.item() == 0
    assert not table.grad.any()


def test_gradients() -> None:
    table = TABLE.clone().requires_grad_()
    frame_prior(torch.tensor([1, 1]), table).backward()
    assert table.grad.tolist() == [[0, 0], [3, 0], [0, 0]]
    assert torch.autograd.gradcheck(
        lambda x: frame_prior(torch.tensor([2, 0, 2]), x), TABLE.clone().requires_grad_()
    )
    assert torch.autograd.gradcheck(shape_prior, TABLE[:1].clone().requires_grad_())
