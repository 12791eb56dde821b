"""Folders and patterns of images read as videos, and the layouts of other projects."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from nha.core.errors import UserError
from nha.data.image_sequence import find_images, read_matte
from nha.data.video_io import count_packets, iterate_displayed_frames, iterate_frames, video_info

HEIGHT, WIDTH = 24, 32


def write_images(folder: Path, names: list[str], channels: int = 3) -> Path:
    """One image for each name; the grey level is ten times its place in the list."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        image = np.full((HEIGHT, WIDTH, channels), 10 * i, np.uint8)
        if channels == 4:
            image[..., 3] = 255
            image[: HEIGHT // 2, :, 3] = 0
        cv2.imwrite(str(folder / name), image)
    return folder


def levels(path: Path) -> list[int]:
    return [round(float(rgb.mean())) for rgb in iterate_frames(path)]


NAMES = ["frame_8.png", "frame_9.png", "frame_10.png", "frame_11.png"]


@pytest.mark.parametrize("pattern", ["", "frame_%d.png", "frame_*.png", "*.png", "frame_%02d.png"])
def test_a_folder_and_patterns_in_the_order_of_the_numbers(tmp_path, pattern):
    folder = write_images(tmp_path / "my images", NAMES)
    (folder / "notes.txt").write_text("no image")
    path = folder / pattern if pattern else folder
    assert levels(path) == [0, 10, 20, 30]
    info = video_info(path)
    assert (info.width, info.height, info.claimed_frames) == (WIDTH, HEIGHT, 4)
    assert count_packets(path) == 4
    assert [round(float(rgb.mean())) for rgb in iterate_frames(path, every=2)] == [0, 20]


def test_alpha_is_the_matte_and_the_background_white(tmp_path):
    folder = write_images(tmp_path / "rgba", NAMES[:2], channels=4)
    frames = list(iterate_displayed_frames(folder))
    assert (frames[1].rgb[: HEIGHT // 2] == 255).all()
    assert (frames[1].rgb[HEIGHT // 2 :] == 10).all()
    assert (frames[1].alpha[: HEIGHT // 2] == 0).all()
    assert (frames[1].alpha[HEIGHT // 2 :] == 255).all()


@pytest.mark.parametrize(
    ("images", "masks", "names"),
    [
        ("image", "mask", ["1.png", "2.png", "10.png"]),  # IMavatar
        ("images", "matted", ["00000.png", "00001.png", "00002.png"]),  # INSTA
        ("imgs", "alpha", ["00001.jpg", "00002.jpg", "00003.jpg"]),  # FlashAvatar
        ("images", "fg_masks", ["00000_00.png", "00001_00.png", "00002_00.png"]),  # GaussianAvatars
    ],
)
def test_layouts_of_other_projects(tmp_path, images, masks, names):
    write_images(tmp_path / images, names)
    write_images(tmp_path / masks, names, channels=4 if masks == "matted" else 3)
    (tmp_path / "flame_params.json").write_text("{}")
    frames = list(iterate_displayed_frames(tmp_path))
    assert [round(float(frame.rgb.mean())) for frame in frames] == [0, 10, 20]
    last = frames[2].alpha
    assert last[-1, 0] == (255 if masks == "matted" else 20)
    assert last.shape == (HEIGHT, WIDTH)


def test_masks_that_are_not_complete_are_not_used(tmp_path):
    write_images(tmp_path / "image", ["1.png", "2.png"])
    write_images(tmp_path / "mask", ["1.png"])
    assert find_images(tmp_path).mattes == []


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (
            ["cam_220700191_000000.jpg", "cam_222200037_000000.jpg", "cam_220700191_000001.jpg"],
            "cam_220700191_*.jpg",
        ),
        (["00000_00.png", "00000_01.png", "00001_00.png", "00001_01.png"], "*_00.png"),
    ],
)
def test_images_of_several_cameras_are_not_mixed(tmp_path, names, chosen):
    folder = write_images(tmp_path / "images", names)
    with pytest.raises(UserError, match="2 cameras") as caught:
        iterate_frames(folder)
    assert str(folder / chosen) in str(caught.value)
    assert len(levels(folder / chosen)) == 2


def test_images_of_16_bits_and_turned_by_exif(tmp_path):
    cv2.imwrite(str(tmp_path / "1.png"), np.full((HEIGHT, WIDTH, 3), 200 * 257, np.uint16))
    assert levels(tmp_path) == [200]
    mask = tmp_path / "mask.png"
    cv2.imwrite(str(mask), np.full((HEIGHT, WIDTH), 100 * 257, np.uint16))
    assert (read_matte(mask) == 100).all()

    done, jpeg = cv2.imencode(".jpg", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    assert done
    # an EXIF segment with the orientation "turned by a quarter"
    tiff = (
        b"MM\x00\x2a\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00\x00\x00\x00\x00"
    )
    exif = b"Exif\x00\x00" + tiff
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    turned = tmp_path / "phone" / "1.jpg"
    turned.parent.mkdir()
    turned.write_bytes(jpeg.tobytes()[:2] + segment + jpeg.tobytes()[2:])
    assert next(iterate_frames(turned.parent)).shape == (WIDTH, HEIGHT, 3)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("empty", "no images are found"),
        ("images/*.jpg", "no images are found"),
        ("images/%d.jpg", "no images are found"),
        ("missing", "not found"),
        ("damaged", "not a readable image"),
    ],
)
def test_errors_in_one_line(tmp_path, path, message):
    write_images(tmp_path / "images", NAMES)
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "1.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=message) as caught:
        list(iterate_frames(tmp_path / path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["frame_0000", "split.json"], "is a dataset already: go on with `nha track --dataset`"),
        (["talk.MOV", "notes.txt"], r"name the video in it, such as talk\.MOV"),
        (["IMG_1.HEIC", "IMG_2.HEIC"], r"holds \.heic images, which are not read: convert them"),
    ],
)
def test_a_folder_with_something_else_says_what(tmp_path, names, message):
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(UserError, match=message):
        video_info(tmp_path)


def test_grey_images_with_alpha_and_palettes(tmp_path):
    """Kinds of PNG that are not written by OpenCV."""
    image = pytest.importorskip("PIL.Image")
    grey = np.full((HEIGHT, WIDTH), 60, np.uint8)
    alpha = np.where(np.arange(HEIGHT)[:, None] < HEIGHT // 2, 0, 255) + np.zeros((HEIGHT, WIDTH))
    with_alpha = image.merge("LA", [image.fromarray(grey), image.fromarray(alpha.astype(np.uint8))])
    with_alpha.save(tmp_path / "1.png")
    palette = image.fromarray(grey).convert("RGB").quantize(4)
    palette.save(tmp_path / "2.png")
    first, second = iterate_displayed_frames(tmp_path)
    assert (first.rgb[: HEIGHT // 2] == 255).all()
    assert (first.rgb[HEIGHT // 2 :] == 60).all()
    np.testing.assert_array_equal(first.alpha, alpha)
    assert (second.rgb == 60).all()
