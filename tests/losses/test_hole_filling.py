"""The hole-filling loss of every segmentation term: silhouette, ears, eyes, mouth, hair."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from nha.core.conventions import Parsing
from nha.core.images import gaussian_blur
from nha.losses.hole_filling import SegmentationPair, hole_filling_loss
from nha.losses.semantics import ear_pair, eye_pair, hair_pair, mouth_pair
from nha.losses.silhouette import silhouette_pair

HEIGHT, WIDTH = 24, 32


def box(top: int, left: int, size: int = 8) -> torch.Tensor:
    mask = torch.zeros(1, 1, HEIGHT, WIDTH, dtype=torch.bool)
    mask[:, :, top : top + size, left : left + size] = True
    return mask


def coords(n: int = 1) -> torch.Tensor:
    x = 1 - 2 * (torch.arange(WIDTH, dtype=torch.float64) + 0.5) / WIDTH
    y = 1 - 2 * (torch.arange(HEIGHT, dtype=torch.float64) + 0.5) / HEIGHT
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)
    return grid.expand(n, -1, -1, -1).clone().requires_grad_()


def parsing(region: torch.Tensor, label: Parsing) -> torch.Tensor:
    return torch.where(region[:, 0], int(label), int(Parsing.SKIN))


def pair_of(term: str, rendered: torch.Tensor, target: torch.Tensor) -> SegmentationPair:
    """The pair that a term compares, where a region is rendered at one place and annotated at another.

    rendered, target: bool [N, 1, H, W]. The soft labels are the hard ones, so all pixel weights are 0 or 1.
    """
    hard = rendered.double()
    nothing, everywhere = 0 * hard, torch.ones_like(hard)
    match term:
        case "silh":
            return silhouette_pair(hard, target)
        case "semantic_ear":
            return ear_pair(hard, nothing, everywhere, nothing, parsing(target, Parsing.L_EAR))
        case "semantic_eye":
            return eye_pair(nothing, hard, parsing(target, Parsing.R_EYE))
        case "semantic_mouth":
            return mouth_pair(hard, parsing(target, Parsing.MOUTH))
        case _:
            return hair_pair(everywhere, hard, nothing, hard, nothing, parsing(target, Parsing.HAIR))


every_term = pytest.mark.parametrize(
    "term", ["silh", "semantic_ear", "semantic_eye", "semantic_mouth", "semantic_hair"]
)


@every_term
def test_identical_regions_cost_one_without_gradient(term: str) -> None:
    screen = coords()
    loss = hole_filling_loss(pair_of(term, box(8, 8), box(8, 8)), screen)
    loss.backward()
    assert loss.item() == 1.0
    assert not screen.grad.any()


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        # sigma is small enough for a kernel of one tap: holes are 0 and the union is 1 on every rendered pixel,
        # so the loss is the number of rendered pixels over itself plus those rendered outside the target.
        ("silh", 16 / (16 + 16)),
        ("semantic_ear", 16 / (16 + 16)),
        # the complement of 16 of 768 pixels is rendered; 16 of these pixels lie in the annotated region
        ("semantic_eye", 752 / (752 + 16)),
        ("semantic_mouth", 752 / (752 + 16)),
        # hair and skin together cover the image; 16 pixels of each lie outside their target
        ("semantic_hair", 768 / (768 + 32)),
    ],
)
def test_value_of_regions_that_are_far_apart(term: str, expected: float) -> None:
    pair = dataclasses.replace(pair_of(term, box(2, 2, 4), box(14, 20, 4)), sigma=0.1)
    assert hole_filling_loss(pair, coords()).item() == pytest.approx(expected)


@pytest.mark.parametrize(("rows", "columns"), [(0, 3), (0, -3), (3, 0), (-3, 0)])
def test_the_surface_moves_towards_the_target(rows: int, columns: int) -> None:
    screen = coords()
    pair = silhouette_pair(box(8, 12).double(), box(8 + rows, 12 + columns))
    hole_filling_loss(pair, screen).backward()
    x_left, y_up = -screen.grad.sum((0, 1, 2))  # the direction of descent
    assert torch.sign(-y_up).item() == torch.sign(torch.tensor(float(rows))).item() or abs(y_up) < 1e-12
    assert (
        torch.sign(-x_left).item() == torch.sign(torch.tensor(float(columns))).item() or abs(x_left) < 1e-12
    )
    assert (abs(x_left) > 1e-3) == (columns != 0)
    assert (abs(y_up) > 1e-3) == (rows != 0)


@every_term
@pytest.mark.parametrize("axis", [0, 1])
def test_gradient_is_the_finite_difference_of_moving_the_rendered_pixels(term: str, axis: int) -> None:
    # the screen gradient is not the derivative of the value: the rendered labels are piecewise constant
    pair = pair_of(term, box(8, 9), box(10, 12))
    screen = coords()
    hole_filling_loss(pair, screen).backward()

    holes = gaussian_blur((pair.target & ~pair.prediction).double(), pair.sigma)
    union = gaussian_blur((pair.target | pair.prediction).double(), pair.sigma)
    outside = pair.prediction & ~pair.target
    weight = 1.0 if pair.pixel_weight is None else pair.pixel_weight

    def cost(step: int) -> torch.Tensor:
        """The loss where every rendered pixel looks `step` pixels farther right (axis 0) or down (axis 1)."""
        shift = {"shifts": -step, "dims": 3 - axis}
        per_pixel = pair.prediction * (1 - holes.roll(**shift)) + outside * (1 - union.roll(**shift))
        return (weight * per_pixel).sum() / (pair.prediction.sum() + outside.sum())

    per_pixel = (cost(1) - cost(-1)) / 2
    pixels_per_unit = (WIDTH, HEIGHT)[axis] / 2
    assert abs(per_pixel) > 1e-5
    # screen_coords grow to the left and upwards, hence the sign
    assert screen.grad[..., axis].sum().item() == pytest.approx(-per_pixel.item() * pixels_per_unit, rel=1e-9)


def test_weights_multiply_the_sums_but_not_the_count() -> None:
    pair = silhouette_pair(box(8, 8).double(), box(8, 11))
    plain = hole_filling_loss(pair, coords()).item()
    halved = SegmentationPair(
        pair.prediction, pair.target, pair.sigma, torch.full((1, 1, HEIGHT, WIDTH), 0.5)
    )
    assert hole_filling_loss(halved, coords()).item() == pytest.approx(plain / 2)
    assert hole_filling_loss(pair, coords(), torch.tensor([0.25])).item() == pytest.approx(plain / 4)


@every_term
def test_a_batch_pools_its_frames(term: str) -> None:
    rendered, target = (box(8, 8), box(2, 3, 14)), (box(8, 11), box(4, 2, 5))
    losses, counts = [], []
    for frame in zip(rendered, target, strict=True):
        pair = pair_of(term, *frame)
        losses.append(hole_filling_loss(pair, coords()).item())
        counts.append((pair.prediction.sum() + (pair.prediction & ~pair.target).sum()).item())
    both = pair_of(term, torch.cat(rendered), torch.cat(target))
    pooled = sum(loss * count for loss, count in zip(losses, counts, strict=True)) / sum(counts)
    assert hole_filling_loss(both, coords(2)).item() == pytest.approx(pooled)


def test_channels_are_pooled_like_frames() -> None:
    a, b = SegmentationPair(box(8, 8), box(8, 11), 2.0), SegmentationPair(box(2, 3), box(4, 2), 2.0)
    stacked = SegmentationPair(
        torch.cat([a.prediction, b.prediction], 1), torch.cat([a.target, b.target], 1), sigma=2.0
    )
    as_frames = SegmentationPair(
        torch.cat([a.prediction, b.prediction]), torch.cat([a.target, b.target]), 2.0
    )
    expected = hole_filling_loss(as_frames, coords(2)).item()
    assert hole_filling_loss(stacked, coords()).item() == pytest.approx(expected)


@pytest.mark.parametrize("target", [box(8, 8), torch.zeros_like(box(0, 0))])
@pytest.mark.parametrize("term", ["silh", "semantic_ear", "semantic_eye", "semantic_mouth"])
def test_nothing_rendered_is_zero_without_gradient(term: str, target: torch.Tensor) -> None:
    # the eye and mouth terms compare complements: they render nothing where the region fills the image
    complement = term in ("semantic_eye", "semantic_mouth")
    screen = coords()
    loss = hole_filling_loss(pair_of(term, torch.full_like(target, complement), target), screen)
    loss.backward()
    assert loss.item() == 0
    assert not screen.grad.any()


def test_hair_of_an_empty_rendering_is_zero_without_gradient() -> None:
    nothing, screen = torch.zeros(1, 1, HEIGHT, WIDTH).double(), coords()
    pair = hair_pair(nothing, nothing, nothing, nothing, nothing, parsing(box(8, 8), Parsing.HAIR))
    loss = hole_filling_loss(pair, screen)
    loss.backward()
    assert loss.item() == 0
    assert not screen.grad.any()


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(ValueError, match="screen_coords"):
        hole_filling_loss(silhouette_pair(box(8, 8).double(), box(8, 8)), coords(2))
    with pytest.raises(ValueError, match="foreground"):
        silhouette_pair(box(8, 8).double(), box(8, 8)[:, 0])
    with pytest.raises(ValueError, match="sample_weight"):
        hole_filling_loss(silhouette_pair(box(8, 8).double(), box(8, 8)), coords(), torch.ones(2))
