"""Captured functions, with a recorder for the CPU in place of CUDA graphs."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from nha.core.cuda_graphs import WARM_UPS, CapturedFunction
from nha.core.pixel_lists import LENGTH_STEP, chosen_rows
from tests.graph_twin import GraphTwin

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Pair:
    values: Tensor
    factor: float


def counted(function):
    """The function, and the list of its calls by Python."""
    calls = []

    def wrapped(*inputs):
        calls.append(inputs)
        return function(*inputs)

    return wrapped, calls


def test_replayed_results_follow_the_inputs_and_the_state() -> None:
    total = torch.zeros(2)  # changed by each call, as weights are by a training step

    def add(pair: Pair) -> dict[str, Tensor]:
        total.add_(pair.values)
        return {"scaled": pair.values * pair.factor, "total": total.clone()}

    captured = CapturedFunction(add, "sum", CPU, recorder=GraphTwin())
    for i in range(WARM_UPS + 4):
        result = captured(Pair(torch.full((2,), float(i)), 3.0), copy=True)
        assert torch.equal(result["scaled"], torch.full((2,), 3.0 * i))
        assert torch.equal(result["total"], torch.full((2,), i * (i + 1) / 2))


def test_a_replay_counts_as_a_change() -> None:
    weight = torch.zeros(1)
    captured = CapturedFunction(
        lambda x: weight.detach().add_(x).clone(), "f", CPU, changes=[weight], recorder=GraphTwin()
    )
    for _ in range(WARM_UPS + 2):
        version = weight._version
        captured(torch.ones(1))
        assert weight._version > version


def test_shapes_constants_and_key_select_the_graph() -> None:
    recorder = GraphTwin()
    captured = CapturedFunction(lambda pair: pair.values * pair.factor, "f", CPU, recorder=recorder)
    kinds = [((2,), 1.0, None), ((3,), 1.0, None), ((2,), 2.0, None), ((2,), 1.0, "other")]
    for _ in range(WARM_UPS + 2):
        for shape, factor, key in kinds:
            result = captured(Pair(torch.full(shape, 5.0), factor), key=key)
            assert torch.equal(result, torch.full(shape, 5.0 * factor))
    assert recorder.recorded == len(kinds)


def test_results_are_overwritten_unless_copied() -> None:
    captured = CapturedFunction(lambda x: x + 1, "f", CPU, recorder=GraphTwin())
    for _ in range(WARM_UPS + 1):
        captured(torch.zeros(1))
    kept, own = captured(torch.zeros(1)), captured(torch.zeros(1), copy=True)
    captured(torch.ones(1))
    assert kept.item() == 2
    assert own.item() == 1


def test_failed_recording_is_reported_once_and_the_function_runs(caplog) -> None:
    class Broken(GraphTwin):
        def record(self, function):
            raise RuntimeError("operation not permitted\nmore")

    captured = CapturedFunction(lambda x: x + 1, "the image", CPU, recorder=Broken())
    with caplog.at_level(logging.WARNING):
        for i in range(WARM_UPS + 3):
            assert captured(torch.full((1,), float(i))).item() == i + 1
    assert [r.getMessage() for r in caplog.records] == [
        "the image is not run as a CUDA graph: operation not permitted"
    ]
    assert not captured.captures


def chosen(mask: Tensor) -> Tensor:
    """The number of entries of a mask that its list holds."""
    rows = chosen_rows("rows", mask)
    return (rows.place < len(mask)).sum()


def mask_of(n: int) -> Tensor:
    return torch.arange(4 * LENGTH_STEP) < n


def test_exact_function_repeats_a_call_whose_list_was_too_short() -> None:
    recorder = GraphTwin()
    captured = CapturedFunction(chosen, "count", CPU, exact=True, recorder=recorder)
    for n in [10] * (WARM_UPS + 2) + [3 * LENGTH_STEP, 20, 4 * LENGTH_STEP]:
        assert captured(mask_of(n)).item() == n
    assert recorder.recorded >= 1


def test_other_functions_get_longer_lists_two_calls_later() -> None:
    captured = CapturedFunction(chosen, "count", CPU, recorder=GraphTwin())
    for _ in range(WARM_UPS + 1):
        captured(mask_of(10))
    assert captured(mask_of(3 * LENGTH_STEP)).item() == LENGTH_STEP  # the graph's list is too short
    captured(mask_of(3 * LENGTH_STEP))  # the count of the call before arrives on the host
    assert captured(mask_of(3 * LENGTH_STEP)).item() == 3 * LENGTH_STEP


def test_lists_that_grow_slowly_are_never_too_short() -> None:
    recorder = GraphTwin()
    captured = CapturedFunction(chosen, "count", CPU, recorder=recorder)
    for n in range(2 * LENGTH_STEP, 4 * LENGTH_STEP, 10):
        assert captured(mask_of(n)).item() == n
    assert recorder.recorded > 1


def test_without_a_recorder_the_function_is_called_as_it_is() -> None:
    function, calls = counted(lambda x: x)
    captured = CapturedFunction(function, "f", CPU)
    x = torch.ones(1)
    assert captured(x) is x
    assert calls == [(x,)]
    assert not captured.captures


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_cuda_graph_equals_the_function() -> None:
    device = torch.device("cuda")
    weight = torch.nn.Parameter(torch.ones(4, device=device))
    optimizer = torch.optim.Adam([weight], lr=0.1, fused=True, capturable=True)
    reference = weight.detach().clone().requires_grad_()
    slow = torch.optim.Adam([reference], lr=0.1, fused=True)

    def step(x: Tensor) -> Tensor:
        loss = (x * weight).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    captured = CapturedFunction(step, "step", device)
    for i in range(WARM_UPS + 5):
        x = torch.full((4,), 1.0 + i, device=device)
        loss = (x * reference).square().sum()
        slow.zero_grad()
        loss.backward()
        slow.step()
        assert torch.equal(captured(x), loss.detach())
    assert captured.captures
    assert torch.equal(weight, reference)
