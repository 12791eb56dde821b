import numpy as np
import pytest
import torch

from nha.core.over_time import continuous_rotations, smoothed_over_time
from nha.core.rotations import rotation_matrix


def test_a_gaussian_mean_over_time():
    times = torch.tensor([3, 4, 5, 6, 20])
    spike = torch.tensor([0.0, 0, 1, 0, 5])[:, None]
    sigma = 0.8
    smooth = smoothed_over_time(spike, times, sigma)[:, 0]
    weights = np.exp(-((np.array([3, 4, 5, 6]) - 5.0) ** 2) / (2 * sigma**2))
    assert smooth[2].item() == pytest.approx(1 / weights.sum(), abs=1e-6)
    assert smooth[4].item() == pytest.approx(5, abs=1e-6)  # far away in time, though next in the list
    assert smoothed_over_time(spike, times, 0.0) is spike


def test_lines_stay_and_noise_shrinks():
    times = torch.arange(1200)
    line = times[:, None] * torch.tensor([[0.5, -1.0]])
    torch.testing.assert_close(smoothed_over_time(line, times, 2.0)[20:-20], line[20:-20], atol=2e-3, rtol=0)
    noise = torch.randn(1200, 3, generator=torch.Generator().manual_seed(0))
    assert smoothed_over_time(noise, times, 2.0).std() < 0.5 * noise.std()


def test_rotation_vectors_do_not_jump_where_heads_sit():
    angle = torch.linspace(3.0, 3.3, 7)
    straight = torch.stack([torch.full_like(angle, 0.02), angle, torch.zeros_like(angle)], 1)
    length = straight.norm(dim=1, keepdim=True)
    wrapped = torch.where(
        length > torch.pi, straight * (1 - 2 * torch.pi / length), straight
    )  # length in 0..pi
    assert (wrapped[1:] - wrapped[:-1]).norm(dim=1).max() > 6
    found = continuous_rotations(wrapped, straight[0])
    torch.testing.assert_close(found, straight, atol=1e-5, rtol=0)
    torch.testing.assert_close(rotation_matrix(found), rotation_matrix(wrapped), atol=1e-5, rtol=0)
    zeros = torch.zeros(2, 3)
    torch.testing.assert_close(continuous_rotations(zeros, zeros[0]), zeros)
