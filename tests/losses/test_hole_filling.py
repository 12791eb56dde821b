"""The hole-filling segmentation term and the silhouette."""

from __future__ import annotations

import pytest
import torch

from nha.core.images import gaussian_blur
from nha.losses.hole_filling import SegmentationPair, hole_filling_loss
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


def test_identical_regions_cost_one_and_do_not_pull() -> None:
    screen = coords()
    loss = hole_filling_loss(silhouette_pair(box(8, 8).double(), box(8, 8)), screen)
    loss.backward()
    assert loss.item() == 1.0
    assert not screen.grad.any()


def test_regions_far_apart_by_hand() -> None:
    # sigma small enough for a kernel of one tap: holes are 0 and the union is 1 on every drawn pixel
    pair = SegmentationPair(box(2, 2, 4), box(14, 20, 4), sigma=0.1)
    assert hole_filling_loss(pair, coords()).item() == pytest.approx(16 / 32)


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


@pytest.mark.parametrize("axis", [0, 1])
def test_gradient_is_the_finite_difference_of_moving_the_drawn_pixels(axis: int) -> None:
    pair = SegmentationPair(box(8, 9), box(10, 12), sigma=2.0)
    screen = coords()
    hole_filling_loss(pair, screen).backward()

    holes = gaussian_blur((pair.target & ~pair.prediction).double(), 2.0)
    union = gaussian_blur((pair.target | pair.prediction).double(), 2.0)
    outside = pair.prediction & ~pair.target

    def cost(
        step: int,
    ) -> torch.Tensor:  # every drawn pixel looks `step` pixels farther right (axis 0) or down (1)
        shift = {"shifts": -step, "dims": 3 - axis}
        total = (pair.prediction * (1 - holes.roll(**shift))).sum() + (
            outside * (1 - union.roll(**shift))
        ).sum()
        return total / (pair.prediction.sum() + outside.sum())

    per_pixel = (cost(1) - cost(-1)) / 2
    pixels_per_unit = (WIDTH, HEIGHT)[axis] / 2
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


def test_a_batch_pools_its_frames() -> None:
    frames = [(box(8, 8), box(8, 11)), (box(2, 3, 14), box(4, 2, 5))]
    losses, counts = [], []
    for prediction, target in frames:
        losses.append(hole_filling_loss(SegmentationPair(prediction, target, 2.0), coords()).item())
        counts.append((prediction.sum() + (prediction & ~target).sum()).item())
    both = SegmentationPair(torch.cat([f[0] for f in frames]), torch.cat([f[1] for f in frames]), 2.0)
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
def test_nothing_drawn_is_finite_and_still(target: torch.Tensor) -> None:
    screen = coords()
    loss = hole_filling_loss(silhouette_pair(torch.zeros(1, 1, HEIGHT, WIDTH).double(), target), screen)
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
