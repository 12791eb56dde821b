"""The fused layers of a FiLM-SIREN: kernels against their plain twin, the twin against the exact evaluation, choice."""

from __future__ import annotations

from unittest import mock

import pytest
import torch
from torch import Tensor

from nha.core import launches
from nha.nets import film_siren, fused_siren, siren_ops
from nha.nets.film_siren import MappingNetwork, folded_trunk, siren_layers
from nha.nets.fused_siren import can_fuse, fused_trunk, set_fused_networks, trunk_twin
from op_counter import OpCounter


def folded_networks(n: int, points: int, inputs: int, width: int, layers: int) -> list[Tensor]:
    """Points [P, C] and the weights of N folded networks, with phases of several turns; all with gradients."""
    torch.manual_seed(0)
    tensors = (
        torch.randn(points, inputs),
        0.5 * torch.randn(n, width, inputs),
        2 / width**0.5 * torch.randn(n, layers - 1, width, width),
        3 * torch.randn(n, layers, width),
    )
    return [tensor.requires_grad_() for tensor in tensors]


def relative(value: Tensor, wanted: Tensor) -> float:
    """The length of the difference, relative to the wanted value's."""
    return float((value - wanted).norm() / wanted.norm())


@pytest.mark.triton
@pytest.mark.parametrize("n, points, inputs, width, layers", [(1, 150, 7, 32, 3), (2, 70, 35, 16, 4)])
def test_kernels_equal_their_twin(kernel_device, n, points, inputs, width, layers) -> None:
    assert_equals_twin(kernel_device, folded_networks(n, points, inputs, width, layers))


@pytest.mark.parametrize("n, points, inputs, width, layers", [(1, 150, 7, 32, 3), (2, 70, 35, 16, 4)])
def test_operations_on_the_cpu_equal_the_twin(n, points, inputs, width, layers) -> None:
    assert_equals_twin("cpu", folded_networks(n, points, inputs, width, layers))


def test_each_kernel_launch_is_one_operation() -> None:
    tensors = folded_networks(1, 40, 5, 16, 6)
    with OpCounter() as counter:
        out = fused_trunk(*tensors, torch.float32)
    forward = counter.totals()["ops"]
    with OpCounter() as counter:
        out.sum().backward()
    # one launch, and conversions of the two weights; two launches, a copy, sums, and products of the first layer
    assert forward <= 5
    assert counter.totals()["ops"] <= 12


def assert_equals_twin(kernel_device: str, tensors: list[Tensor]) -> None:
    wanted = trunk_twin(*tensors)
    upstream = torch.randn_like(wanted)
    wanted_gradients = torch.autograd.grad(wanted, tensors, upstream)

    on_device = [tensor.detach().to(kernel_device).requires_grad_() for tensor in tensors]
    out = fused_trunk(*on_device, torch.float32)
    torch.testing.assert_close(out.detach().cpu(), wanted.detach(), atol=4e-3, rtol=0)  # of phases up to 12
    # the interpreter does not multiply bfloat16; float16 is the other type of 16 bits
    for operand, tolerance in ((torch.float32, 1e-3), (torch.float16, 3e-3)):
        out = fused_trunk(*on_device, operand)
        gradients = torch.autograd.grad(out, on_device, upstream.to(kernel_device))
        for ours, slow in zip(gradients, wanted_gradients, strict=True):
            assert relative(ours.cpu(), slow) < tolerance


@pytest.mark.triton
def test_images_reuse_the_buffers_of_earlier_layers(kernel_device) -> None:
    tensors = [tensor.to(kernel_device) for tensor in folded_networks(1, 40, 5, 16, 6)]
    with torch.no_grad():
        image = fused_trunk(*tensors, torch.float32)
    assert torch.equal(image, fused_trunk(*tensors, torch.float32))


@pytest.mark.triton
def test_weight_gradients_are_sums_of_sections_in_a_fixed_order(kernel_device, monkeypatch) -> None:
    monkeypatch.setattr(siren_ops, "SECTION", 64)  # three sections of 200 points, the last one shorter
    tensors = [tensor.to(kernel_device).detach() for tensor in folded_networks(1, 200, 5, 16, 3)]
    tensors = [tensor.requires_grad_() for tensor in tensors]
    slow = torch.autograd.grad(trunk_twin(*tensors).square().sum(), tensors)
    fast = [
        torch.autograd.grad(fused_trunk(*tensors, torch.float32).square().sum(), tensors) for _ in range(2)
    ]
    for first, second, wanted in zip(*fast, slow, strict=True):
        assert relative(first, wanted) < 1e-3
        assert torch.equal(first, second)


@pytest.fixture
def network() -> tuple:
    """The layers of a network, points, and frequencies and phases of two conditions."""
    torch.manual_seed(0)
    frequency, phase = MappingNetwork(9, 4 * 32)(torch.randn(2, 9))
    return siren_layers(7, 32, 4), torch.rand(50, 7) * 2 - 1, frequency, phase


def as_tf32(values: Tensor) -> Tensor:
    """Float32 values rounded to ten bits of mantissa."""
    bits = values.contiguous().view(torch.int32)
    return ((bits + 0xFFF + ((bits >> 13) & 1)) & ~0x1FFF).view(torch.float32)


def test_twin_is_as_accurate_as_tf32(network) -> None:
    layers, points, frequency, phase = network
    first, later, biases = film_siren.fold_layers(layers, frequency, phase)
    exact = folded_trunk(points.double(), layers.double(), frequency.double(), phase.double())
    tf32 = as_tf32(points) @ as_tf32(first).mT + biases[:, :1]
    for layer in range(3):
        tf32 = as_tf32(tf32.sin()) @ as_tf32(later[:, layer]).mT + biases[:, layer + 1, None]
    error = (trunk_twin(points, first, later, biases) - exact).norm()
    assert 0 < error < 1.3 * (tf32 - exact).norm()


@pytest.mark.parametrize("single", [False, True])
def test_trunk_is_evaluated_by_the_fused_kernels_where_it_can_be(network, single) -> None:
    layers, points, frequency, phase = network
    wanted = trunk_twin(points, *film_siren.fold_layers(layers, frequency, phase))
    if single:
        frequency, phase, wanted = frequency[0], phase[0], wanted[0]

    def twin(*arguments) -> Tensor:
        return trunk_twin(*arguments[:-1])

    with (
        mock.patch.object(film_siren, "can_fuse", return_value=True),
        mock.patch.object(film_siren, "fused_trunk", twin),
    ):
        fused = folded_trunk(points, layers, frequency, phase)
    torch.testing.assert_close(fused, wanted)
    assert (fused - folded_trunk(points, layers, frequency, phase)).abs().max() > 1e-5  # rounded


class OnCuda:
    """What `can_fuse` reads of a float32 tensor on a GPU."""

    device, dtype = torch.device("cuda"), torch.float32

    def __len__(self) -> int:
        return 10


@pytest.fixture
def wanted_at_high_precision():
    """Fused networks are wanted, and tf32 is allowed."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    set_fused_networks(True)
    with mock.patch.object(launches, "has_triton", return_value=True):
        yield
    set_fused_networks(False)
    torch.set_float32_matmul_precision(before)


def test_fused_kernels_run_only_where_everything_allows_them(wanted_at_high_precision) -> None:
    assert can_fuse(OnCuda(), 8, 256)
    assert not can_fuse(torch.zeros(10, 3), 8, 256)  # on a CPU
    assert not can_fuse(OnCuda(), 8, 200)
    assert not can_fuse(OnCuda(), 8, 512)
    assert not can_fuse(OnCuda(), 1, 256)
    torch.set_float32_matmul_precision("highest")
    assert not can_fuse(OnCuda(), 8, 256)


def test_fused_kernels_are_off_unless_they_are_wanted(wanted_at_high_precision) -> None:
    set_fused_networks(False)
    assert not can_fuse(OnCuda(), 8, 256)


def test_products_backward_have_the_chosen_precision(wanted_at_high_precision) -> None:
    assert fused_siren.backward_type() is torch.float32
    torch.set_float32_matmul_precision("medium")
    assert fused_siren.backward_type() is torch.bfloat16


def test_without_triton_nothing_is_fused(wanted_at_high_precision) -> None:
    with mock.patch.object(launches, "has_triton", return_value=False):
        assert not can_fuse(OnCuda(), 8, 256)
