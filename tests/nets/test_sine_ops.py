"""Elementwise work of sinusoidal layers: fused against plain torch, for rows at any distance."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nha.core.device import accelerator_path
from nha.nets.sine_ops import modulated_sine_, through_modulated_sine_, times_cosine_and_sine_
from op_counter import OpCounter

ROWS, WIDTH = 70, 24


def results(device: str) -> list[Tensor]:
    """All results of the three functions; the modulated layers' rows are those of a table of three layers."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return 1.5 * torch.randn(shape, generator=generator).to(device)

    gradient, sine = times_cosine_and_sine_(draw(ROWS, WIDTH), draw(ROWS, WIDTH))
    frequency, phase, kept = draw(ROWS, 3, WIDTH), draw(ROWS, 3, WIDTH), draw(ROWS, 3, WIDTH)
    values, modulated = modulated_sine_(draw(ROWS, WIDTH), frequency[:, 1], phase[:, 2], kept[:, 0])
    assert values.data_ptr() == kept.data_ptr()
    own, own_sine = modulated_sine_(draw(ROWS, WIDTH), frequency[:, 0], phase[:, 0], None)
    of_sine, of_affine = draw(ROWS, 3, WIDTH), draw(ROWS, 3, WIDTH)
    through_modulated_sine_(of_sine[:, 1], values, frequency[:, 2], of_affine[:, 0])
    everything = (gradient, sine, modulated, own, own_sine, kept, of_sine, of_affine)
    return [value.cpu() for value in everything]


def assert_equals_plain(found: list[Tensor]) -> None:
    for ours, plain in zip(found, results("cpu"), strict=True):
        torch.testing.assert_close(ours, plain, atol=2e-5, rtol=1e-5)


def test_fused_equals_plain() -> None:
    with accelerator_path():
        found = results("cpu")
    assert_equals_plain(found)


def test_each_function_is_one_operation() -> None:
    tensors = [torch.ones(ROWS, WIDTH) for _ in range(4)]
    with accelerator_path(), OpCounter() as counter:
        times_cosine_and_sine_(*tensors[:2])
        modulated_sine_(*tensors[:3], tensors[3])
        through_modulated_sine_(*tensors)
    assert counter.totals()["ops"] == 3


@pytest.mark.triton
def test_kernels_equal_plain(kernel_device) -> None:
    with accelerator_path():
        found = results(kernel_device)
    assert_equals_plain(found)
