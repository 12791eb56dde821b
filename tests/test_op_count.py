"""Numbers of operations that an image and a training step launch, as upper bounds, and the counter itself."""

from __future__ import annotations

import json

import pytest
import torch

import op_count
from bench import settings_of
from op_count import count_all
from op_counter import OpCounter

# aten calls of one image and of one step of two frames; lower them with every improvement
OPS = {"image": 237, "geometry_step": 476, "texture_step": 473, "joint_step": 840}
FUSED_OPS = {"image": 221, "geometry_step": 454, "texture_step": 434, "joint_step": 785}
BLEND_OPS = {"image": 240, "geometry_step": 596, "texture_step": 396, "joint_step": 825}
SYNCS = {"image": 0, "geometry_step": 0, "texture_step": 0, "joint_step": 0}


@pytest.fixture(scope="module")
def counters(head) -> dict[str, OpCounter]:
    """Counters of the published networks; neither the mesh's nor the image's size changes the counts."""
    return count_all(head, settings_of("published", 48), size=48)


@pytest.fixture(scope="module")
def fused_counters(head) -> dict[str, OpCounter]:
    """The same with the fused kernels of the networks."""
    return count_all(head, settings_of("published", 48), size=48, fused=True)


@pytest.fixture(scope="module")
def blend_counters(head) -> dict[str, OpCounter]:
    """Counters of the blend model."""
    return count_all(head, settings_of("blend", 64), size=64)


@pytest.mark.parametrize("name", OPS)
def test_operations_stay_within_their_budget(counters, name) -> None:
    assert counters[name].totals()["ops"] <= OPS[name], dict(counters[name].ops)


@pytest.mark.parametrize("name", FUSED_OPS)
def test_operations_with_fused_networks_stay_within_their_budget(fused_counters, name) -> None:
    assert fused_counters[name].totals()["ops"] <= FUSED_OPS[name], dict(fused_counters[name].ops)


@pytest.mark.parametrize("name", BLEND_OPS)
def test_operations_of_the_blend_model_stay_within_their_budget(blend_counters, name) -> None:
    assert blend_counters[name].totals()["ops"] <= BLEND_OPS[name], dict(blend_counters[name].ops)


@pytest.mark.parametrize("name", SYNCS)
def test_the_host_waits_no_more_often_than_the_budget_allows(counters, fused_counters, name) -> None:
    for counted in (counters, fused_counters):
        assert counted[name].totals()["syncs"] <= SYNCS[name], dict(counted[name].sync_names)


def test_counter_counts_calls_views_and_the_backward_pass_by_part() -> None:
    x = torch.ones(3, requires_grad=True)
    with OpCounter() as counter:
        with counter.part("forward"):
            y = x.view(3, 1).sin()
        y.sum().backward()
    assert counter.ops["forward"] == 3  # sine, and cosine and product backward
    assert counter.views["forward"] >= 1
    assert counter.totals()["syncs"] == 0
    # float32: sine and cosine, and the product, of which the gradient of the sum is one number
    assert counter.traffic["forward"] == 4 * (2 * 3 + 2 * 3 + 1 + 3 + 3)


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x.nonzero(),
        lambda x: x[x > 0],
        lambda x: x.sum().item(),
        lambda x: x.tolist(),
        lambda x: x.unique(),
        lambda x: torch.tensor([1.0, 2.0]).to(x),
        lambda x: torch.randn(2, generator=torch.Generator()).to(x.device),
        lambda x: x[torch.tensor([0, 1])],
    ],
)
def test_counter_sees_what_makes_the_host_wait(wait) -> None:
    x = torch.ones(3)
    with OpCounter() as counter:
        wait(x)
    assert counter.totals()["syncs"] == 1


def test_counter_accepts_copies_that_do_not_wait() -> None:
    x = torch.ones(3)
    with OpCounter() as counter:
        moved = torch.tensor([1.0, 2.0, 3.0]).to(x.device, non_blocking=True)
        x + moved
    assert counter.totals()["syncs"] == 0


def test_script_writes_the_counts(tmp_path, counters, monkeypatch, capsys) -> None:
    monkeypatch.setattr(op_count, "count_all", lambda *_, fused=False: counters)
    monkeypatch.setattr(op_count, "build_head", lambda *_: None)
    options = ["--head", "procedural", "--parts", "--fused_networks"]
    op_count.main([*options, "--json", str(tmp_path / "counts.json")])
    counts = json.loads((tmp_path / "counts.json").read_text())
    assert set(counts) == set(OPS)
    assert all({"ops", "syncs", "fused_ops", "fused_syncs"} <= set(count) for count in counts.values())
    assert "texture network" in capsys.readouterr().out
