from __future__ import annotations

import numpy as np
import pytest
import torch

from nha.core.errors import UserError
from nha.data.dataset_folder import write_rgb
from nha.data.video_io import VideoWriter
from nha.evaluation.background import Background, covering


@pytest.fixture
def drawn() -> torch.Tensor:
    """A red square [4, 20, 30] in the middle, white around it."""
    picture = torch.ones(4, 20, 30)
    picture[3] = 0
    picture[:, 5:15, 10:20] = torch.tensor([1.0, 0.0, 0.0, 1.0])[:, None, None]
    return picture


@pytest.mark.parametrize(
    ("text", "rgb"), [("white", (255, 255, 255)), ("Black", (0, 0, 0)), ("#0a80FF", (10, 128, 255))]
)
def test_a_colour_stands_behind_the_head(text, rgb, drawn):
    picture = Background(text, 25).behind(drawn, 0)
    assert picture.shape == (20, 30, 3)
    assert picture[10, 15].tolist() == [255, 0, 0]
    assert picture[0, 0].tolist() == list(rgb)


def test_a_picture_fills_the_frame(drawn, spaced_dir):
    write_rgb(spaced_dir / "b.png", np.full((40, 20, 3), (9, 99, 199), np.uint8))
    picture = Background(str(spaced_dir / "b.png"), 25).behind(drawn, 7)
    assert (picture[:, :5] == (9, 99, 199)).all()
    assert picture[10, 15].tolist() == [255, 0, 0]


def test_a_video_runs_at_its_own_speed_and_starts_again(drawn, tmp_path):
    with VideoWriter(tmp_path / "b.mp4", 50) as video:
        for level in (0, 40, 80, 120, 160, 200):
            video.write(np.full((32, 32, 3), level, np.uint8))
    background = Background(str(tmp_path / "b.mp4"), 25)
    levels = [int(background.behind(drawn, number)[0, 0, 0]) for number in range(5)]
    assert levels == pytest.approx([0, 80, 160, 0, 80], abs=6)


def test_covering_cuts_the_longer_side():
    picture = np.zeros((10, 40, 3), np.uint8)
    picture[:, 15:25] = 255
    assert (covering(picture, (10, 10)) == 255).all()
    assert covering(picture, (50, 20)).shape == (50, 20, 3)


def test_what_is_neither_colour_nor_file_is_an_error(tmp_path):
    with pytest.raises(UserError, match="neither a colour .* nor a file"):
        Background("reddish", 25)
    (tmp_path / "b.txt").write_text("text")
    with pytest.raises(UserError):
        Background(str(tmp_path / "b.txt"), 25)


def test_the_outline_is_softened_inside_the_head_only(drawn):
    picture = Background("#000080", 25).behind(drawn, 0).astype(int)
    assert picture[10, 9].tolist() == [0, 0, 128]  # just outside
    assert 128 < picture[10, 10, 0] < 255  # the outermost pixel of the head
    assert picture[10, 12].tolist() == [255, 0, 0]
