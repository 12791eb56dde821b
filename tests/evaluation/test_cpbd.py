"""Sharpness of constructed images."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from nha.evaluation.cpbd import cpbd, edges_of_rows


def ramps(width: int, low: float, high: float, size: tuple[int, int] = (64, 64)) -> torch.Tensor:
    """A grey image [1, 3, H, W] with one edge in the middle that rises within `width` pixels."""
    column = torch.arange(size[1])
    row = ((column - size[1] // 2) / width).clamp(0, 1) * (high - low) + low
    return row.expand(1, 3, *size)


def test_edges_of_known_rows():
    luma = np.array(
        [
            [0, 0, 100, 100, 90, 50, 40, 40],  # rises within 1 pixel, falls within 3
            [0, 10, 19, 19, 19, 19, 19, 19],  # too low for an edge
            [7, 7, 7, 7, 7, 7, 7, 7],
            [0, 10, 20, 30, 30, 60, 30, 30],  # 3 pixels to a plateau, then up and down
        ],
        float,
    )
    edges = edges_of_rows(luma)
    assert edges.row.tolist() == [0, 0, 3, 3, 3]
    assert edges.column.tolist() == [1, 3, 0, 4, 5]
    assert edges.width_px.tolist() == [1, 3, 3, 1, 1]
    assert len(edges_of_rows(np.zeros((5, 1))).row) == 0


@pytest.mark.parametrize(
    ("width", "contrast", "score"),
    [(1, 200, 1), (3, 200, 1), (4, 200, 0), (20, 200, 0), (4, 40, 1), (5, 40, 1), (6, 40, 0)],
)
def test_an_edge_is_sharp_up_to_the_just_noticeable_width_of_its_contrast(width, contrast, score):
    assert cpbd(ramps(width, 0.1, 0.1 + contrast / 255)).tolist() == [score]


def test_edges_are_counted_over_blocks():
    sharp, blurred = ramps(1, 0, 0.8), ramps(10, 0, 0.8)
    in_two_blocks = torch.cat([sharp, blurred.flip(3)], 3)  # one edge a row each
    assert cpbd(in_two_blocks).item() == 0.5
    smooth = torch.full_like(sharp, 0.8)
    assert cpbd(torch.cat([smooth, sharp.flip(3), sharp, smooth], 3)).item() == 1


def test_blur_lowers_the_score_of_an_image():
    rng = np.random.default_rng(0)
    image = np.kron(rng.uniform(size=(12, 12)), np.ones((16, 16)))
    scores = []
    for sigma in (0.0, 1.0, 2.0, 4.0):
        smooth = ndimage.gaussian_filter(image, sigma).clip(0, 1)
        scores.append(cpbd(torch.from_numpy(smooth).float().expand(1, 3, -1, -1)).item())
    assert scores[0] == 1
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] < 0.2


def test_each_image_has_its_own_score_and_none_without_edges():
    batch = torch.cat([ramps(1, 0, 1), ramps(9, 0, 1), torch.full((1, 3, 64, 64), 0.5)])
    scores = cpbd(batch)
    assert scores[:2].tolist() == [1, 0]
    assert scores[2].isnan()


def test_small_images_and_ragged_blocks_count():
    assert cpbd(ramps(1, 0, 1, (20, 30))).item() == 1
    assert cpbd(ramps(9, 0, 1, (70, 150))).item() == 0


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r"\[N, 3, H, W\]"):
        cpbd(torch.zeros(3, 8, 8))
