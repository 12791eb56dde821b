"""FiLM-SIREN layers: initialisation, and the fast evaluation against plain references."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from nha.core.device import accelerator_path
from nha.nets.film_siren import MappingNetwork, folded_trunk, sine_linear, siren_layers, small_trunk
from nha.nets.modulated_siren import modulated_trunk
from nha.nets.siren_folding import fold, fold_layers, stack_layers


def test_layers_start_uniform_within_their_bounds():
    torch.manual_seed(0)
    layers = siren_layers(35, 128, 4)
    bounds = [1 / 35] + [math.sqrt(6 / 128) / 25] * 3
    for layer, bound in zip(layers, bounds, strict=True):
        assert layer.weight.abs().max() <= bound
        assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)
        assert layer.bias.abs().max() <= 1 / math.sqrt(layer.in_features)


def test_mapping_starts_with_kaiming_weights_and_a_small_output():
    torch.manual_seed(0)
    mapping = MappingNetwork(100, 384)
    for layer, scale in zip((*mapping.hidden, mapping.output), (1, 1, 1, 0.25), strict=True):
        expected = scale * math.sqrt(2 / (1 + 0.2**2) / layer.in_features)
        assert layer.weight.std().item() == pytest.approx(expected, rel=0.02)


def test_mapping_returns_frequencies_and_phases():
    torch.manual_seed(0)
    mapping = MappingNetwork(9, 20, hidden_size=16)
    condition = torch.randn(3, 9)
    x = condition
    for layer in mapping.hidden:
        x = nn.functional.leaky_relu(layer(x), 0.2)
    out = mapping.output(x)
    frequency, phase = mapping(condition)
    torch.testing.assert_close(frequency, 15 * out[:, :20] + 30)
    torch.testing.assert_close(phase, out[:, 20:])


@pytest.mark.parametrize("n", [None, 3])
def test_sine_linear_gradients(n):
    torch.manual_seed(0)
    lead = () if n is None else (n,)
    x = torch.randn(*lead, 5, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(*lead, 2, 4, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(*lead, 2, dtype=torch.float64, requires_grad=True)
    plain = torch.sin(x) @ weight.mT + bias.unsqueeze(-2)
    torch.testing.assert_close(sine_linear(x, weight, bias), plain)
    assert torch.autograd.gradcheck(sine_linear, (x, weight, bias))


@pytest.mark.parametrize("n", [None, 2])
def test_folded_trunk_equals_layer_by_layer(n):
    torch.manual_seed(0)
    layers = siren_layers(6, 16, 3).double()
    points = torch.randn(7, 6, dtype=torch.float64, requires_grad=True)
    lead = () if n is None else (n,)
    frequency = (15 * torch.randn(*lead, 48, dtype=torch.float64) + 30).requires_grad_()
    phase = torch.randn(*lead, 48, dtype=torch.float64, requires_grad=True)

    x = points
    for i, layer in enumerate(layers):
        own = slice(16 * i, 16 * (i + 1))
        x = frequency[..., None, own] * layer(torch.sin(x) if i else x) + phase[..., None, own]
    fast = folded_trunk(points, layers, frequency, phase)
    torch.testing.assert_close(fast, x)

    inputs = (points, frequency, phase, *layers.parameters())
    upstream = torch.randn_like(x)
    slow_gradients = torch.autograd.grad(x, inputs, upstream)
    for ours, slow in zip(torch.autograd.grad(fast, inputs, upstream), slow_gradients, strict=True):
        torch.testing.assert_close(ours, slow)


@pytest.mark.parametrize("n_layers", [1, 4])
def test_small_trunk_equals_layer_by_layer(n_layers):
    torch.manual_seed(0)
    layers = siren_layers(6, 16, n_layers).double()
    points = torch.randn(7, 6, dtype=torch.float64, requires_grad=True)
    frequency, phase = MappingNetwork(5, 16 * n_layers).double()(torch.randn(3, 5, dtype=torch.float64))
    folded = fold_layers(layers, frequency, phase)
    slow = folded_trunk(points, layers, frequency, phase)
    with accelerator_path():
        fast = small_trunk(points, *folded)
    torch.testing.assert_close(fast, slow)
    inputs = (points, *layers.parameters())
    upstream = torch.randn_like(slow)
    slow_gradients = torch.autograd.grad(slow, inputs, upstream, retain_graph=True)
    for ours, wanted in zip(torch.autograd.grad(fast, inputs, upstream), slow_gradients, strict=True):
        torch.testing.assert_close(ours, wanted)
    with torch.no_grad(), accelerator_path():
        assert torch.equal(small_trunk(points, *folded), fast)
    assert torch.equal(small_trunk(points, *folded), slow)  # on a CPU one layer at a time


def test_modulated_trunk_equals_layer_by_layer():
    torch.manual_seed(0)
    layers = siren_layers(6, 16, 3).double()
    points = torch.randn(7, 6, dtype=torch.float64, requires_grad=True)
    frequency = (3 * torch.randn(7, 48, dtype=torch.float64) + 5).requires_grad_()
    phase = torch.randn(7, 48, dtype=torch.float64, requires_grad=True)
    x = points
    for i, layer in enumerate(layers):
        own = slice(16 * i, 16 * (i + 1))
        x = frequency[:, own] * layer(torch.sin(x) if i else x) + phase[:, own]
    fast = modulated_trunk(points, stack_layers(layers), frequency, phase)
    torch.testing.assert_close(fast, x)
    inputs = (points, frequency, phase, *layers.parameters())
    upstream = torch.randn_like(x)
    wanted = torch.autograd.grad(x, inputs, upstream)
    for ours, slow in zip(torch.autograd.grad(fast, inputs, upstream), wanted, strict=True):
        torch.testing.assert_close(ours, slow)
    with torch.no_grad():
        assert torch.equal(modulated_trunk(points, stack_layers(layers), frequency, phase), fast)


def test_fold_of_a_convolution():
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 5, 3).double()
    image = torch.randn(1, 3, 6, 6, dtype=torch.float64)
    frequency, phase = torch.randn(2, 5, dtype=torch.float64)
    folded = nn.functional.conv2d(image, *fold(layer, frequency, phase))
    slow = frequency[:, None, None] * layer(image) + phase[:, None, None]
    torch.testing.assert_close(folded, slow)

    def folded_values(frequency, phase, weight, bias):
        return fold(SimpleNamespace(weight=weight, bias=bias), frequency, phase)

    parameters = [value.detach().requires_grad_() for value in (frequency, phase, layer.weight, layer.bias)]
    assert torch.autograd.gradcheck(folded_values, parameters)
