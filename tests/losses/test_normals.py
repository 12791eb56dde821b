"""The normal term and its mask."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import convolve1d

from nha.core.conventions import Parsing
from nha.core.images import gaussian_kernel
from nha.losses.normals import normal_loss, normal_mask

SIZE = 50  # sigma 1, erosion radius 1


def random_case(n: int = 1, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    rendered, target = torch.randn(2, n, 3, SIZE, SIZE, generator=generator, dtype=torch.float64)
    mask = torch.rand(n, 1, SIZE, SIZE, generator=generator) > 0.3
    return rendered, target, mask, torch.zeros(n, SIZE, SIZE, 2, dtype=torch.float64)


def blur_numpy(image: np.ndarray) -> np.ndarray:
    kernel = gaussian_kernel(1.0, dtype=torch.float64).numpy()
    return convolve1d(convolve1d(image, kernel, axis=-1, mode="mirror"), kernel, axis=-2, mode="mirror")


def test_value_against_numpy() -> None:
    rendered, target, mask, screen = random_case()
    m = mask.numpy().astype(float)

    def details(x: np.ndarray) -> np.ndarray:
        return x - m * blur_numpy(x * m) / (blur_numpy(m) + 1e-7)

    expected = (np.abs(details(rendered.numpy()) - details(target.numpy())) * m).sum() / (3 * m.sum())
    assert normal_loss(rendered, target, mask, screen).item() == pytest.approx(expected, rel=1e-12)


def test_identical_normals_cost_nothing() -> None:
    rendered, _, mask, screen = random_case()
    assert normal_loss(rendered, rendered, mask, screen).item() == 0


def test_a_constant_difference_is_low_frequency() -> None:
    rendered, _, mask, screen = random_case()
    assert normal_loss(rendered + 0.3, rendered, mask, screen).item() < 1e-6


def test_gradient_of_the_rendered_normals_ignores_the_blur() -> None:
    rendered, target, mask, screen = random_case()
    rendered.requires_grad_()
    normal_loss(rendered, target, mask, screen).backward()
    step = 1 / (3 * mask.sum().item())
    inside = mask.expand_as(rendered)
    assert torch.allclose(rendered.grad[inside].abs(), torch.full((), step, dtype=torch.float64))
    assert not rendered.grad[~inside].any()


def test_position_gradient_moves_the_surface_towards_matching_details() -> None:
    # the estimated normals have a bump 2 pixels to the right of the rendered one: the surface should move right
    columns = torch.arange(SIZE, dtype=torch.float64)
    bump = torch.exp(-((columns - 25) ** 2) / 18).expand(1, 3, SIZE, SIZE)
    rendered, target = bump.clone(), bump.roll(2, 3)
    screen = torch.zeros(1, SIZE, SIZE, 2, dtype=torch.float64, requires_grad=True)
    normal_loss(rendered, target, torch.ones(1, 1, SIZE, SIZE, dtype=torch.bool), screen).backward()
    descent_x, descent_y = -screen.grad.sum((0, 1, 2))
    assert descent_x < 0  # screen x grows to the left
    assert abs(descent_y) < 1e-12


@pytest.mark.parametrize("axis", [0, 1])
def test_position_gradient_is_the_finite_difference_of_shifting_the_target(axis: int) -> None:
    # an empty border keeps the one-sided differences at the image's edge out of the comparison
    rendered, target, mask, screen = random_case()
    mask[..., :3, :] = mask[..., -3:, :] = mask[..., :3] = mask[..., -3:] = False
    screen.requires_grad_()
    normal_loss(rendered, target, mask, screen).backward()
    m = mask.numpy().astype(float)

    def details(x: torch.Tensor) -> torch.Tensor:
        return x - torch.from_numpy(m * blur_numpy(x.numpy() * m) / (blur_numpy(m) + 1e-7))

    difference = details(rendered) - details(target)
    slope = (details(target).roll(-1, 3 - axis) - details(target).roll(1, 3 - axis)) / 2
    per_pixel = -(difference.sign() * slope * mask).sum() / (3 * mask.sum())
    # screen_coords grow to the left and upwards, hence the sign; a unit is SIZE / 2 pixels
    assert screen.grad[..., axis].sum().item() == pytest.approx(-per_pixel.item() * SIZE / 2, rel=1e-9)


def test_a_batch_pools_its_pixels() -> None:
    rendered, target, mask, screen = random_case(2)
    mask[1, :, 20:] = False
    single = [
        normal_loss(rendered[i : i + 1], target[i : i + 1], mask[i : i + 1], screen[:1]).item()
        for i in (0, 1)
    ]
    counts = mask.sum((1, 2, 3)).tolist()
    expected = (single[0] * counts[0] + single[1] * counts[1]) / sum(counts)
    assert normal_loss(rendered, target, mask, screen).item() == pytest.approx(expected)


def test_empty_mask_is_zero_without_gradient() -> None:
    rendered, target, mask, screen = random_case()
    rendered.requires_grad_()
    screen.requires_grad_()
    loss = normal_loss(rendered, target, mask & False, screen)
    loss.backward()
    assert loss.item() == 0
    assert not rendered.grad.any()
    assert not screen.grad.any()


def test_mask_rules() -> None:
    def mask(trust: float = 1.0, **changed: torch.Tensor) -> torch.Tensor:
        inputs = {
            "target_normals": torch.ones(1, 3, SIZE, SIZE),
            "parsing": torch.full((1, SIZE, SIZE), int(Parsing.SKIN)),
            "alpha": torch.ones(1, 1, SIZE, SIZE),
            "excluded_labels": torch.zeros(1, 3, SIZE, SIZE),
            "eye_region_labels": torch.zeros(1, 2, SIZE, SIZE),
        }
        return normal_mask(**(inputs | changed), semantic_trust=torch.tensor([trust]))[0, 0]

    def with_pixel(tensor: torch.Tensor, channel: int | None, value: float) -> torch.Tensor:
        tensor = tensor.clone()
        index = (0, 10, 20) if channel is None else (0, channel, 10, 20)
        tensor[index] = value
        return tensor

    def all_but(radius: int) -> torch.Tensor:
        expected = torch.ones(SIZE, SIZE, dtype=torch.bool)
        expected[10 - radius : 11 + radius, 20 - radius : 21 + radius] = False
        return expected

    everywhere = torch.ones(SIZE, SIZE, dtype=torch.bool)
    assert torch.equal(mask(), everywhere)
    for label in (Parsing.HAIR, Parsing.MOUTH, Parsing.L_EYE, Parsing.NECK, Parsing.BACKGROUND):
        parsing = with_pixel(torch.full((1, SIZE, SIZE), int(Parsing.SKIN)), None, int(label))
        assert torch.equal(mask(parsing=parsing), all_but(0))
    for label in (Parsing.NOSE, Parsing.L_BROW, Parsing.R_BROW, Parsing.U_LIP, Parsing.L_LIP):
        parsing = with_pixel(torch.full((1, SIZE, SIZE), int(Parsing.SKIN)), None, int(label))
        assert torch.equal(mask(parsing=parsing), everywhere)
    assert torch.equal(mask(alpha=with_pixel(torch.ones(1, 1, SIZE, SIZE), 0, 0.0)), all_but(0))
    excluded = torch.zeros(1, 3, SIZE, SIZE)
    assert torch.equal(mask(excluded_labels=with_pixel(excluded, 1, 0.1)), all_but(0))
    eye_region = with_pixel(torch.zeros(1, 2, SIZE, SIZE), 1, 1.0)
    assert torch.equal(mask(eye_region_labels=eye_region), everywhere)
    assert torch.equal(mask(trust=0.5, eye_region_labels=eye_region), all_but(0))

    normals = torch.ones(1, 3, SIZE, SIZE)
    normals[0, :, 10, 20] = 1 / 255  # how a file stores "unknown"
    assert torch.equal(mask(target_normals=normals), all_but(1))  # only this part is eroded
    normals[0, 2, 10, 20] = -0.5
    assert torch.equal(mask(target_normals=normals), everywhere)
