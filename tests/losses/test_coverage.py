"""The coverage and the composite term of the blend model."""

from __future__ import annotations

import pytest
import torch

from nha.losses.coverage import OUTSIDE_WEIGHT, composite_loss, coverage_loss

HEIGHT, WIDTH = 8, 10


def random_case(n: int = 2):
    generator = torch.Generator().manual_seed(0)
    alpha = torch.rand(n, 1, HEIGHT, WIDTH, generator=generator, dtype=torch.float64)
    foreground = torch.rand(n, 1, HEIGHT, WIDTH, generator=generator) > 0.4
    return alpha, foreground


def random_images(n: int = 2):
    generator = torch.Generator().manual_seed(1)
    rendered, target = torch.rand(2, n, 3, HEIGHT, WIDTH, generator=generator, dtype=torch.float64)
    return rendered, target, torch.zeros(n, HEIGHT, WIDTH, 2, dtype=torch.float64)


def test_equal_coverage_costs_nothing() -> None:
    _, foreground = random_case()
    assert coverage_loss(foreground.double(), foreground).item() == 0


def test_values_by_hand() -> None:
    foreground = torch.zeros(1, 1, 1, 4, dtype=torch.bool)
    foreground[..., :2] = True
    alpha = torch.tensor([[[[1.0, 0.5, 0.5, 0.0]]]])
    # differences weighted by the root of the weight, summed in squares of 1, 2, 4 and 8 pixels
    inside, outside = -0.5, 0.5 * OUTSIDE_WEIGHT**0.5
    whole = (inside + outside) ** 2
    scales = [
        inside**2 + outside**2,
        4 * ((inside / 4) ** 2 + (outside / 4) ** 2),
        16 * whole / 16**2,
        64 * whole / 64**2,
    ]
    expected = sum(scales) / 4 / 2
    assert coverage_loss(alpha, foreground).item() == pytest.approx(expected)
    target = torch.ones(1, 3, 1, 4)
    rendered = target - torch.tensor([0.1, 0.0, 0.2, 0.0])
    screen = torch.zeros(1, 1, 4, 2)
    expected = 2 * (0.1 + OUTSIDE_WEIGHT * 0.2) / 2
    assert composite_loss(rendered, target, foreground, screen).item() == pytest.approx(expected)


def test_identical_images_cost_nothing() -> None:
    rendered, _, screen = random_images()
    _, foreground = random_case()
    assert composite_loss(rendered, rendered, foreground, screen).item() == 0


def test_a_wide_gap_pulls_harder_at_the_rim() -> None:
    def pull(width: int) -> float:
        foreground = torch.ones(1, 1, 8, 16, dtype=torch.bool)
        alpha = torch.ones(1, 1, 8, 16)
        alpha[..., 8 : 8 + width] = 0
        alpha.requires_grad_()
        coverage_loss(alpha, foreground).backward()
        return -alpha.grad[0, 0, 4, 8].item()

    assert 0 < pull(1) < pull(2) < pull(4) < pull(8)


def test_gradients() -> None:
    alpha, foreground = random_case()
    assert torch.autograd.gradcheck(lambda x: coverage_loss(x, foreground), alpha.requires_grad_())
    rendered, target, screen = random_images()
    loss = lambda x: composite_loss(x, target, foreground, screen)  # noqa: E731
    assert torch.autograd.gradcheck(loss, rendered.requires_grad_())


def test_position_gradient_is_the_slope_of_the_target() -> None:
    slope = (torch.arange(WIDTH, dtype=torch.float64) * 0.02).expand(1, 3, HEIGHT, WIDTH)
    screen = torch.zeros(1, HEIGHT, WIDTH, 2, dtype=torch.float64, requires_grad=True)
    foreground = torch.ones(1, 1, HEIGHT, WIDTH, dtype=torch.bool)
    composite_loss(slope + 0.1, slope, foreground, screen).backward()
    assert screen.grad[..., 0].sum().item() == pytest.approx(2 * 0.02 * WIDTH / 2)


def test_a_batch_pools_its_pixels() -> None:
    alpha, foreground = random_case()
    foreground[1, :, 3:] = False
    counts = foreground.sum((1, 2, 3)).tolist()
    single = [coverage_loss(alpha[i : i + 1], foreground[i : i + 1]).item() for i in (0, 1)]
    expected = (single[0] * counts[0] + single[1] * counts[1]) / sum(counts)
    assert coverage_loss(alpha, foreground).item() == pytest.approx(expected)
    rendered, target, screen = random_images()
    single = [
        composite_loss(*(x[i : i + 1] for x in (rendered, target, foreground, screen))).item() for i in (0, 1)
    ]
    expected = (single[0] * counts[0] + single[1] * counts[1]) / sum(counts)
    assert composite_loss(rendered, target, foreground, screen).item() == pytest.approx(expected)


def test_empty_mask() -> None:
    alpha, _ = random_case()
    empty = torch.zeros(2, 1, HEIGHT, WIDTH, dtype=torch.bool)
    assert coverage_loss(torch.zeros_like(alpha), empty).item() == 0
    value = coverage_loss(alpha.requires_grad_(), empty)
    value.backward()
    assert torch.isfinite(alpha.grad).all()
