"""The gradient and the feature term of the blend model."""

from __future__ import annotations

import pytest
import torch

from nha.losses.detail import feature_loss, gradient_loss

HEIGHT, WIDTH = 8, 10
LOSSES = [gradient_loss, feature_loss]


def random_case(n: int = 2):
    generator = torch.Generator().manual_seed(1)
    rendered, target = torch.rand(2, n, 3, HEIGHT, WIDTH, generator=generator, dtype=torch.float64)
    mask = torch.rand(n, 1, HEIGHT, WIDTH, generator=generator) > 0.3
    return rendered, target, mask, torch.zeros(n, HEIGHT, WIDTH, 2, dtype=torch.float64)


@pytest.mark.parametrize("loss", LOSSES)
def test_identical_images_cost_nothing(loss) -> None:
    rendered, _, mask, screen = random_case()
    assert loss(rendered, rendered, mask, screen).item() == 0


def test_values_by_hand() -> None:
    target = torch.zeros(1, 3, 4, 4)
    rendered = target.clone()
    rendered[..., 2:] = 0.25  # one edge, between the second and the third column
    everywhere = torch.ones(1, 1, 4, 4, dtype=torch.bool)
    screen = torch.zeros(1, 4, 4, 2)
    # four pairs at the first scale; at the second two pairs, which count four times
    expected = 2 * (4 * 0.25 + 4 * 2 * 0.25) / 4 / 16
    assert gradient_loss(rendered, target, everywhere, screen).item() == pytest.approx(expected)
    assert feature_loss(rendered, target, everywhere, screen).item() == pytest.approx(2 * 0.25 / 2)
    left = everywhere.clone()
    left[..., 2:] = False  # no pair crosses the edge
    assert gradient_loss(rendered, target, left, screen).item() == 0
    assert feature_loss(rendered, target, left, screen).item() == 0


def test_a_constant_difference_has_no_gradient_term() -> None:
    rendered, _, mask, screen = random_case()
    assert gradient_loss(rendered + 0.1, rendered, mask, screen).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients(loss) -> None:
    rendered, target, mask, screen = random_case()
    assert torch.autograd.gradcheck(lambda x: loss(x, target, mask, screen), rendered.requires_grad_())


def test_position_gradient_of_the_features_is_the_slope_of_the_target() -> None:
    slope = (torch.arange(WIDTH, dtype=torch.float64) * 0.02).expand(1, 3, HEIGHT, WIDTH)
    screen = torch.zeros(1, HEIGHT, WIDTH, 2, dtype=torch.float64, requires_grad=True)
    everywhere = torch.ones(1, 1, HEIGHT, WIDTH, dtype=torch.bool)
    feature_loss(slope + 0.1, slope, everywhere, screen).backward()
    assert screen.grad[..., 0].sum().item() == pytest.approx(2 * 0.02 * WIDTH / 2)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_batch_pools_its_pixels(loss) -> None:
    rendered, target, mask, screen = random_case()
    mask[1, :, 3:] = False
    counts = mask.sum((1, 2, 3)).tolist()
    single = [loss(*(x[i : i + 1] for x in (rendered, target, mask, screen))).item() for i in (0, 1)]
    expected = (single[0] * counts[0] + single[1] * counts[1]) / sum(counts)
    assert loss(rendered, target, mask, screen).item() == pytest.approx(expected)


@pytest.mark.parametrize("loss", LOSSES)
def test_empty_mask(loss) -> None:
    rendered, target, mask, screen = random_case()
    value = loss(rendered.requires_grad_(), target, torch.zeros_like(mask), screen)
    value.backward()
    assert value.item() == 0
    assert not rendered.grad.any()
