"""The table of a step's losses."""

from __future__ import annotations

import pytest
import torch

from nha.losses.table import LossTable


def table() -> tuple[LossTable, torch.Tensor]:
    x = torch.tensor([2.0, 3.0], requires_grad=True)
    return LossTable({"lap": x[0], "silh": x[1]}, {"iou": torch.tensor(0.5)}), x


def test_the_total_is_the_sum_of_what_is_logged_times_the_weights() -> None:
    losses, x = table()
    assert losses.names == ("lap", "silh")
    total = losses.weighted_sum({"lap": 10.0, "silh": 0.5, "rgb": 7.0})
    total.backward()
    logged = losses.for_log("train")
    assert total.item() == 10 * logged["train/lap"].item() + 0.5 * logged["train/silh"].item()
    assert x.grad.tolist() == [10.0, 0.5]
    assert logged["train/iou"].item() == 0.5
    assert not any(value.requires_grad for value in logged.values())


def test_a_zero_weight_leaves_its_loss_out() -> None:
    x = torch.tensor(1.0, requires_grad=True)
    losses = LossTable({"good": 2 * x, "broken": x / 0})
    total = losses.weighted_sum({"good": 1.0, "broken": 0.0})
    total.backward()
    assert total.item() == 2
    assert x.grad.item() == 2
    nothing = losses.weighted_sum({"good": 0.0, "broken": 0.0})
    nothing.backward()
    assert nothing.item() == 0


def test_every_loss_needs_a_weight() -> None:
    with pytest.raises(ValueError, match="no weight for silh"):
        table()[0].weighted_sum({"lap": 1.0})


def test_only_scalars_under_one_name() -> None:
    with pytest.raises(ValueError, match="lap has shape"):
        LossTable({"lap": torch.ones(2)})
    with pytest.raises(ValueError, match="both a loss and a metric: iou"):
        LossTable({"iou": torch.tensor(1.0)}, {"iou": torch.tensor(1.0)})
