"""Linear layers of a few rows by fused kernels against plain torch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nha.core.device import accelerator_path
from nha.nets.film_siren import MappingNetwork
from op_counter import OpCounter


def modulation(device: str, rows: int) -> list[Tensor]:
    """Frequencies and phases of a small mapping network, and the gradients of condition and parameters."""
    torch.manual_seed(0)
    network = MappingNetwork(13, 45, hidden_size=40)
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)  # biases that are not 0
    condition = torch.randn(rows, 13).to(device).requires_grad_()
    network = network.to(device)
    frequency, phase = network(condition)
    total = (frequency * torch.linspace(-1, 1, 45).to(device)).sum() + phase.square().sum()
    gradients = torch.autograd.grad(total, [condition, *network.parameters()])
    return [value.detach().cpu() for value in (frequency, phase, *gradients)]


def assert_equals_plain(found: list[Tensor], rows: int) -> None:
    for ours, plain in zip(found, modulation("cpu", rows), strict=True):
        torch.testing.assert_close(ours, plain, atol=2e-5 * (1 + float(plain.abs().max())), rtol=1e-5)


@pytest.mark.parametrize("rows", [1, 2, 17])
def test_fused_equals_plain(rows) -> None:
    with accelerator_path():
        found = modulation("cpu", rows)
    assert_equals_plain(found, rows)


def test_a_layer_is_one_operation_and_two_backward() -> None:
    network, condition = MappingNetwork(13, 45), torch.ones(3, 13)
    with accelerator_path(), OpCounter() as counter:
        frequency, phase = network(condition)
    assert counter.totals()["ops"] == 4
    with OpCounter() as counter:
        torch.autograd.grad([frequency, phase], list(network.parameters()), [frequency, phase])
    assert (
        counter.totals()["ops"] == 8
    )  # the gradients of both halves are joined; no gradient of the condition


@pytest.mark.triton
@pytest.mark.parametrize("rows", [1, 17])
def test_kernels_equal_plain(kernel_device, rows) -> None:
    with accelerator_path():
        found = modulation(kernel_device, rows)
    assert_equals_plain(found, rows)
