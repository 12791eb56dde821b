"""The one-euro filter against its properties."""

from __future__ import annotations

import math

import pytest
import torch

from nha.live.one_euro import OneEuroFilter

STEP_S = 1 / 25


def run(signal: torch.Tensor, **settings: float) -> torch.Tensor:
    smooth = OneEuroFilter(**settings)
    return torch.stack([smooth(value, i * STEP_S) for i, value in enumerate(signal)])


def test_the_first_value_and_a_constant_are_not_changed():
    signal = torch.full((10, 2), 3.0)
    assert torch.equal(run(signal, min_cutoff_hz=1.0, speed_factor=0.5), signal)


def test_without_speed_it_is_the_first_order_low_pass():
    step = torch.cat([torch.zeros(1, 1), torch.ones(30, 1)])
    filtered = run(step, min_cutoff_hz=1.0, speed_factor=0.0)[1:, 0]
    share = 2 * math.pi * STEP_S / (2 * math.pi * STEP_S + 1)
    expected = 1 - (1 - share) ** torch.arange(1, 31)
    assert torch.allclose(filtered, expected, atol=1e-5)


def test_noise_at_rest_is_reduced_and_fast_motion_hardly_delayed():
    torch.manual_seed(0)
    noise = 0.1 * torch.randn(200, 1)
    smoothed = run(noise, min_cutoff_hz=1.0, speed_factor=0.5)
    assert float(smoothed[20:].std()) < 0.55 * float(noise[20:].std())
    ramp = torch.arange(50.0)[:, None] * 10 * STEP_S  # 10 units a second
    lag = {
        factor: float((ramp - run(ramp, min_cutoff_hz=1.0, speed_factor=factor))[-1]) for factor in (0.0, 2.0)
    }
    assert lag[2.0] < 0.15 * lag[0.0]


def test_each_component_has_its_own_cutoff_and_reset_forgets():
    smooth = OneEuroFilter(torch.tensor([0.01, 100.0]), 0.0)
    smooth(torch.zeros(2), 0.0)
    slow, fast = smooth(torch.ones(2), STEP_S)
    assert slow < 0.01
    assert fast > 0.9
    smooth.reset()
    assert smooth(torch.full((2,), 7.0), 2 * STEP_S).tolist() == [7.0, 7.0]


@pytest.mark.parametrize("passed_s", [0.0, -1.0])
def test_a_time_that_does_not_advance_changes_nothing(passed_s):
    smooth = OneEuroFilter(1.0, 0.5)
    smooth(torch.zeros(1), 5.0)
    assert smooth(torch.ones(1), 5.0 + passed_s) == 0
