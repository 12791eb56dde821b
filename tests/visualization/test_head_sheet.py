from __future__ import annotations

import numpy as np
import pytest
import torch

from nha.head.load import load_head
from nha.head.model import HeadModel
from nha.visualization.head_sheet import LEGEND_PIXELS, TILE_PIXELS, VIEWS_DEG, draw_head_overview
from nha.visualization.layout import CAPTION_HEIGHT


@pytest.fixture(scope="module")
def sheet() -> np.ndarray:
    head = HeadModel(load_head("procedural"), subdivisions=0, drop_lower_neck=False, blur_sigma=None)
    with torch.no_grad():
        return draw_head_overview(head)


def tile(sheet: np.ndarray, row: int, column: int) -> np.ndarray:
    """One image without its caption."""
    top = row * (TILE_PIXELS + CAPTION_HEIGHT + 4) + CAPTION_HEIGHT
    left = column * (TILE_PIXELS + 4)
    return sheet[top : top + TILE_PIXELS, left : left + TILE_PIXELS]


def outline(image: np.ndarray) -> np.ndarray:
    return (image < 250).any(-1)


def test_every_tile_shows_a_head_that_fits(sheet):
    assert sheet.shape[1] >= len(VIEWS_DEG) * TILE_PIXELS + LEGEND_PIXELS
    for row in range(3):
        for column in range(3):
            head = outline(tile(sheet, row, column))
            assert 0.2 < head.mean() < 0.7
            border = np.concatenate([head[0], head[-1], head[:, 0], head[:, -1]])
            assert not border.any()
            assert np.ptp(np.flatnonzero(head.any(1))) > 0.6 * TILE_PIXELS


def test_views_differ_and_the_front_is_symmetric(sheet):
    front, three_quarter, side = (outline(tile(sheet, 0, column)) for column in range(3))
    assert (front != front[:, ::-1]).mean() < 0.01
    assert (side != side[:, ::-1]).mean() > 0.05
    assert (three_quarter != front).mean() > 0.05
    # a nose in profile points to the right of the image, where the person's front is at +90 degrees
    rightmost = side[: TILE_PIXELS // 2].any(0).nonzero()[0].max()
    assert rightmost > TILE_PIXELS / 2


def test_parts_and_landmarks_are_coloured(sheet):
    parts = tile(sheet, 1, 0)[outline(tile(sheet, 1, 0))]
    saturation = np.ptp(parts.astype(int), axis=-1)
    assert (saturation > 60).mean() > 0.9
    mouth_map = tile(sheet, 2, 0).astype(int)
    assert ((mouth_map[..., 0] > 100) & (mouth_map[..., 1] < 40)).mean() > 0.002  # the open mouth is red
    landmarks = tile(sheet, 0, 0)
    for colour in ((0, 90, 200), (0, 120, 60), (140, 0, 140), (200, 0, 0)):
        assert (landmarks == colour).all(-1).sum() > 20
    hidden_from_the_side = (tile(sheet, 0, 2) == (140, 0, 140)).all(-1).sum()
    assert hidden_from_the_side < (landmarks == (140, 0, 140)).all(-1).sum()


def test_the_legend_names_every_part(sheet):
    legend = sheet[TILE_PIXELS + 2 * CAPTION_HEIGHT : 2 * TILE_PIXELS, -LEGEND_PIXELS:]
    swatch = legend[:, 8]
    colours = {tuple(c) for c in swatch.tolist()} - {(255, 255, 255)}
    assert len(colours) == 24
