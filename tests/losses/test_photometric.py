"""The photometric term."""

from __future__ import annotations

import pytest
import torch

from nha.core.conventions import Segmentation
from nha.losses.masks import whiten_background
from nha.losses.photometric import photometric_loss

HEIGHT, WIDTH = 10, 12


def random_case(n: int = 2):
    generator = torch.Generator().manual_seed(0)
    rendered, target = torch.rand(2, n, 3, HEIGHT, WIDTH, generator=generator, dtype=torch.float64)
    mask = torch.rand(n, 1, HEIGHT, WIDTH, generator=generator) > 0.4
    return rendered, target, mask, torch.zeros(n, HEIGHT, WIDTH, 2, dtype=torch.float64)


def test_background_and_clothes_become_white() -> None:
    rgb01 = torch.full((1, 3, 1, len(Segmentation)), 0.25)
    segmentation = torch.tensor([[[int(label) for label in Segmentation]]])
    background = [label in (Segmentation.BACKGROUND, Segmentation.CLOTHES) for label in Segmentation]
    white = whiten_background(rgb01, segmentation)
    assert white.shape == rgb01.shape
    assert white[0, 1, 0].tolist() == [1.0 if is_background else 0.25 for is_background in background]


def test_value_by_hand_in_units_of_minus_one_to_one() -> None:
    rendered, _, mask, screen = random_case()
    assert photometric_loss(rendered, rendered, mask, screen).item() == 0
    assert photometric_loss(rendered, rendered + 0.1, mask, screen).item() == pytest.approx(0.2)
    only_red = rendered.clone()
    only_red[:, 0] -= 0.3
    assert photometric_loss(only_red, rendered, mask, screen).item() == pytest.approx(0.2)


def test_colour_gradient() -> None:
    rendered, target, mask, screen = random_case()
    assert torch.autograd.gradcheck(
        lambda x: photometric_loss(x, target, mask, screen), rendered.requires_grad_()
    )


def test_position_gradient_is_the_slope_of_the_target() -> None:
    # the target gets brighter to the right and down and the rendered surface is too bright: it should move there
    brightness = (
        torch.arange(WIDTH, dtype=torch.float64) * 0.02 + torch.arange(HEIGHT).double()[:, None] * 0.01
    )
    target = brightness.expand(1, 3, HEIGHT, WIDTH)
    screen = torch.zeros(1, HEIGHT, WIDTH, 2, dtype=torch.float64, requires_grad=True)
    mask = torch.ones(1, 1, HEIGHT, WIDTH, dtype=torch.bool)
    photometric_loss(target + 0.1, target, mask, screen).backward()
    # one pixel lowers the loss by 2 * 0.02 (x) or 2 * 0.01 (y); a screen unit is W/2 or H/2 pixels
    assert screen.grad[..., 0].sum().item() == pytest.approx(0.04 * WIDTH / 2)
    assert screen.grad[..., 1].sum().item() == pytest.approx(0.02 * HEIGHT / 2)


def test_a_batch_pools_its_pixels() -> None:
    rendered, target, mask, screen = random_case()
    mask[1, :, 3:] = False
    single = [
        photometric_loss(*(x[i : i + 1] for x in (rendered, target, mask, screen))).item() for i in (0, 1)
    ]
    counts = mask.sum((1, 2, 3)).tolist()
    expected = (single[0] * counts[0] + single[1] * counts[1]) / sum(counts)
    assert photometric_loss(rendered, target, mask, screen).item() == pytest.approx(expected)


def test_empty_mask_is_zero_without_gradient() -> None:
    rendered, target, mask, screen = random_case()
    loss = photometric_loss(rendered.requires_grad_(), target, mask & False, screen.requires_grad_())
    loss.backward()
    assert loss.item() == 0
    assert not rendered.grad.any()
    assert not screen.grad.any()
