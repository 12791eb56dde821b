"""Folding of frequencies and phases in one kernel each way: against plain torch, values and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from nha.core.device import accelerator_path
from nha.nets.film_siren import siren_layers
from nha.nets.siren_folding import fold, fold_layers
from op_counter import OpCounter

WIDTH, INPUTS, LAYERS = 8, 11, 3


def layers_of(kind: str) -> nn.ModuleList:
    torch.manual_seed(0)
    if kind == "convolution":
        return nn.ModuleList([nn.Conv2d(3, WIDTH, kernel_size=3)])
    return siren_layers(INPUTS, WIDTH, LAYERS if kind == "several" else 1)


def folded_and_gradients(kind: str, conditions: int | None, device: str) -> list[Tensor]:
    """Results of the folding and all gradients of a sum of them with random weights."""
    layers = layers_of(kind).to(device)
    generator = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(device)

    size = (len(layers) * WIDTH,) if conditions is None else (conditions, len(layers) * WIDTH)
    modulation = [draw(*size).requires_grad_(), draw(*size).requires_grad_()]
    outs = fold(layers[0], *modulation) if kind == "convolution" else fold_layers(layers, *modulation)
    total = sum((values * draw(*values.shape)).sum() for values in outs)
    gradients = torch.autograd.grad(total, [*modulation, *layers.parameters()])
    return [values.detach().cpu() for values in (*outs, *gradients)]


CASES = [("several", 3), ("several", 1), ("several", None), ("one", 2), ("convolution", None)]


@pytest.mark.parametrize(("kind", "conditions"), CASES)
def test_fused_equals_plain(kind, conditions) -> None:
    with accelerator_path():
        found = folded_and_gradients(kind, conditions, "cpu")
    torch.testing.assert_close(found, folded_and_gradients(kind, conditions, "cpu"), atol=1e-5, rtol=1e-5)


def test_folding_is_one_operation_in_each_direction() -> None:
    layer = layers_of("convolution")[0]
    frequency, phase = torch.ones(2, WIDTH, requires_grad=True).unbind()
    with accelerator_path():
        with OpCounter() as forward:
            weight, bias = fold(layer, frequency, phase)
        gradients = torch.ones_like(weight), torch.ones_like(bias)
        with OpCounter() as backward:
            torch.autograd.grad((weight, bias), (layer.weight, frequency, phase), gradients)
    assert forward.totals()["ops"] == 1
    assert backward.totals()["ops"] <= 2  # the result without elements has a gradient of zeros


@pytest.mark.triton
@pytest.mark.parametrize(("kind", "conditions"), CASES)
def test_kernels_equal_plain(kernel_device, kind, conditions) -> None:
    with accelerator_path():
        found = folded_and_gradients(kind, conditions, kernel_device)
    torch.testing.assert_close(found, folded_and_gradients(kind, conditions, "cpu"), atol=1e-5, rtol=1e-5)
