"""Compositing rendered heads over colours, images and videos."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nha.core.errors import UserError
from nha.data.dataset_folder import write_rgb
from nha.data.video_io import VideoWriter
from nha.reenactment.background import Background, scale_to_cover


@pytest.fixture
def rendered() -> torch.Tensor:
    """A red square [4, 20, 30] in the middle, white around it."""
    image = torch.ones(4, 20, 30)
    image[3] = 0
    image[:, 5:15, 10:20] = torch.tensor([1.0, 0.0, 0.0, 1.0])[:, None, None]
    return image


@pytest.mark.parametrize(
    ("text", "rgb"), [("white", (255, 255, 255)), ("Black", (0, 0, 0)), ("#0a80FF", (10, 128, 255))]
)
def test_a_colour_is_visible_around_the_head(text, rgb, rendered):
    image = Background(text, 25).compose(rendered, 0)
    assert image.shape == (20, 30, 3)
    assert image[10, 15].tolist() == [255, 0, 0]
    assert image[0, 0].tolist() == list(rgb)


def test_an_image_fills_the_frame(rendered, spaced_dir):
    write_rgb(spaced_dir / "b.png", np.full((40, 20, 3), (9, 99, 199), np.uint8))
    image = Background(str(spaced_dir / "b.png"), 25).compose(rendered, 7)
    assert (image[:, :5] == (9, 99, 199)).all()
    assert image[10, 15].tolist() == [255, 0, 0]


def test_a_video_plays_at_its_own_frame_rate_and_loops(rendered, tmp_path):
    with VideoWriter(tmp_path / "b.mp4", 50) as video:
        for level in (0, 40, 80, 120, 160, 200):
            video.write(np.full((32, 32, 3), level, np.uint8))
    background = Background(str(tmp_path / "b.mp4"), 25)
    levels = [int(background.compose(rendered, number)[0, 0, 0]) for number in range(5)]
    assert levels == pytest.approx([0, 80, 160, 0, 80], abs=6)


def test_scale_to_cover_crops_the_longer_side():
    image = np.zeros((10, 40, 3), np.uint8)
    image[:, 15:25] = 255
    assert (scale_to_cover(image, (10, 10)) == 255).all()
    assert scale_to_cover(image, (50, 20)).shape == (50, 20, 3)


def test_neither_colour_nor_readable_file_is_an_error(tmp_path):
    with pytest.raises(UserError, match="neither a colour .* nor a file"):
        Background("reddish", 25)
    (tmp_path / "b.txt").write_text("text")
    with pytest.raises(UserError):
        Background(str(tmp_path / "b.txt"), 25)


def test_the_silhouette_is_softened_inside_the_head_only(rendered):
    image = Background("#000080", 25).compose(rendered, 0).astype(int)
    assert image[10, 9].tolist() == [0, 0, 128]  # just outside
    assert 128 < image[10, 10, 0] < 255  # the outermost pixel of the head
    assert image[10, 12].tolist() == [255, 0, 0]


def test_edges_of_antialiased_heads_mix_with_the_background_and_have_no_white(rendered):
    cover = torch.tensor([0.25, 0.5, 0.75])
    rendered[3, 5:8, 9] = cover
    rendered[:3, 5:8, 9] = cover * torch.tensor([[1.0], [0.0], [0.0]]) + 1 - cover
    image = Background("#000080", 25).compose(rendered, 0).astype(int)
    expected = cover[:, None] * torch.tensor([255.0, 0, 0]) + (1 - cover[:, None]) * torch.tensor(
        [0, 0, 128.0]
    )
    np.testing.assert_allclose(image[5:8, 9], expected, atol=1)
    assert image[10, 10].tolist() == [255, 0, 0]
