from __future__ import annotations

import numpy as np
import pytest

from nha.visualization.layout import CAPTION_HEIGHT, grid, side_by_side, with_caption


def image(height: int, width: int, value: int) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def test_row_keeps_every_image_and_fills_with_white():
    row = side_by_side([image(4, 3, 10), image(6, 5, 20)], gap=2)
    assert row.shape == (6, 10, 3)
    assert (row[:4, :3] == 10).all()
    assert (row[:, 5:] == 20).all()
    assert (row[4:, :3] == 255).all()
    assert (row[:, 3:5] == 255).all()


def test_grid_keeps_every_image_and_fills_with_white():
    sheet = grid([[image(4, 3, 10)], [image(2, 4, 20), image(2, 4, 30)]], gap=1)
    assert sheet.shape == (7, 9, 3)
    assert (sheet[:4, :3] == 10).all()
    assert (sheet[4] == 255).all()
    assert (sheet[5:, :4] == 20).all()
    assert (sheet[5:, 5:] == 30).all()
    assert (sheet[:4, 3:] == 255).all()


def test_captions_do_not_change_the_image_and_fit():
    captioned = with_caption(image(8, 40, 90), "a caption that is much too long for this image")
    assert captioned.shape == (8 + CAPTION_HEIGHT, 40, 3)
    assert (captioned[CAPTION_HEIGHT:] == 90).all()
    assert (captioned[:CAPTION_HEIGHT] < 255).any()
    assert (captioned[:CAPTION_HEIGHT, -1] == 255).all()


def test_numbers_of_images_and_captions_must_agree():
    with pytest.raises(ValueError, match="at least one"):
        side_by_side([])
    with pytest.raises(ValueError, match="longer"):
        side_by_side([image(2, 2, 0)], ["one", "two"])
