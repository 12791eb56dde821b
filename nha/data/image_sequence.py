"""Image files as a video: a folder, a numbered pattern (`DIR/%05d.png`) or a wildcard (`DIR/*.png`).

A folder holds the images itself, or it is a dataset of another project with the images in one subfolder and optional
masks of the person in another:

    IMavatar, PointAvatar   image/1.png           mask/1.png
    INSTA                   images/00000.png      matted/00000.png (RGBA)
    FlashAvatar             imgs/00001.jpg        alpha/00001.jpg
    VHAP, GaussianAvatars   images/00000_00.png   fg_masks/00000_00.png or alpha_maps/00000_00.jpg
    NeRSemble v1            images/cam_220700191_000000.jpg

NeRSemble v2 holds videos, one for each camera. The alpha of RGBA images and the masks are the mattes of the frames.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from nha.core.errors import UserError
from nha.core.file_kind import FIRST_BYTES, VIDEO_SUFFIXES, wrong_kind
from nha.core.plain_file import open_plain
from nha.data.dataset_folder import FRAME_FOLDER
from nha.data.displayed_frame import DisplayedFrame, on_white
from nha.data.image_file import decode_image

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
_UNREAD_SUFFIXES = frozenset({".heic", ".heif", ".avif", ".exr", ".hdr", ".dng", ".gif", ".jp2", ".jxl"})
IMAGE_FOLDERS = ("images", "image", "imgs", "ori_imgs")
MATTE_FOLDERS = ("matted", "fg_masks", "alpha_maps", "alpha", "masks", "mask")

_NUMBER = re.compile(r"%0?\d*d")
# (camera, frame) and (frame, camera) in names of files
_CAMERAS = (
    re.compile(r"cam_(?P<camera>\d+)_(?P<frame>\d+)"),
    re.compile(r"(?P<frame>\d{5,})_(?P<camera>\d\d)"),
)


@dataclass(frozen=True)
class ImageSequence:
    """The files of a sequence.

    Attributes:
        images: one for each frame, in order.
        mattes: masks of the person, of the same length; empty if there are none.
    """

    images: list[Path]
    mattes: list[Path]

    def frames(self, every: int = 1) -> Iterator[DisplayedFrame]:
        """Read frames 0, every, 2 every, ... Raises UserError for a file that is not an image."""
        for number in range(0, len(self.images), every):
            frame = read_image(self.images[number])
            if self.mattes:
                alpha = read_matte(self.mattes[number])
                if alpha.shape != frame.rgb.shape[:2]:
                    raise UserError(f"'{self.mattes[number]}' has another size than '{self.images[number]}'")
                frame = DisplayedFrame(frame.rgb, alpha)
            yield frame


def find_images(path: Path) -> ImageSequence | None:
    """The images that a path names; None if it names one file.

    Raises:
        UserError: the folder or pattern has no images, or images of several cameras.
    """
    if path.is_dir():
        images, mattes = _of_folder(path)
    elif path.exists():
        return None
    elif _NUMBER.search(path.name):
        before, after = (re.escape(part) for part in _NUMBER.split(path.name, maxsplit=1))
        pattern = re.compile(rf"{before}\d+{after}")
        images, mattes = [file for file in _files(path.parent) if pattern.fullmatch(file.name)], []
    elif any(character in path.name for character in "*?"):
        images, mattes = [file for file in path.parent.glob(path.name) if _is_image(file)], []
    else:
        return None
    if not images:
        raise UserError(_what_else(path) or f"not a video file, and no images are found: {path}")
    images = sorted(images, key=_in_order)
    _require_one_camera(images, path)
    return ImageSequence(images, mattes_of(images, mattes))


def read_image(path: Path) -> DisplayedFrame:
    """Read an image of 8 or 16 bits, turned as its EXIF data says. Raises UserError if it is none."""
    image = _read(path, cv2.IMREAD_UNCHANGED)
    if image.ndim == 3 and image.shape[2] == 4:
        rgba = cv2.cvtColor(_to_8_bit(image), cv2.COLOR_BGRA2RGBA)
        alpha = np.ascontiguousarray(rgba[..., 3])
        return DisplayedFrame(on_white(rgba[..., :3], alpha), alpha)
    return DisplayedFrame(cv2.cvtColor(_read(path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB))


def read_matte(path: Path) -> np.ndarray:
    """Read a mask, uint8 [H, W]: the alpha of an RGBA image, the grey value of another."""
    image = _to_8_bit(_read(path, cv2.IMREAD_UNCHANGED))
    if image.ndim == 3 and image.shape[2] == 4:
        return np.ascontiguousarray(image[..., 3])
    return image if image.ndim == 2 else image[..., :3].max(axis=2)


def mattes_of(images: list[Path], mattes: list[Path]) -> list[Path]:
    """The masks in the order of their images, by name; empty unless each image has one."""
    by_name = {path.stem: path for path in mattes}
    return [by_name[path.stem] for path in images] if all(path.stem in by_name for path in images) else []


def _of_folder(folder: Path) -> tuple[list[Path], list[Path]]:
    if images := _files(folder):
        return images, []
    for name in IMAGE_FOLDERS:
        if images := _files(folder / name):
            found = (_files(folder / matte) for matte in MATTE_FOLDERS)
            return images, next((mattes for mattes in found if mattes_of(images, mattes)), [])
    return [], []


def _what_else(path: Path) -> str | None:
    """A sentence about a folder without images that holds something else of use."""
    if not path.is_dir():
        return None
    names = sorted(file.name for file in path.iterdir() if not file.name.startswith("."))
    if any(FRAME_FOLDER.fullmatch(name) for name in names):
        return f"'{path}' is a dataset already: go on with `nha track --dataset`"
    by_suffix = {Path(name).suffix.lower(): name for name in reversed(names)}
    for suffix in sorted(VIDEO_SUFFIXES & by_suffix.keys()):
        return f"'{path}' is a folder without images: name the video in it, such as {by_suffix[suffix]}"
    for suffix in sorted(_UNREAD_SUFFIXES & by_suffix.keys()):
        return f"'{path}' holds {suffix} images, which are not read: convert them to PNG or JPEG"
    return None


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if _is_image(path)] if folder.is_dir() else []


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def _require_one_camera(images: list[Path], path: Path) -> None:
    for pattern in _CAMERAS:
        names = [pattern.fullmatch(image.stem) for image in images]
        if all(names) and len(cameras := sorted({name["camera"] for name in names})) > 1:
            first, last = names[0].span("frame")
            chosen = f"{images[0].name[:first]}*{images[0].name[last:]}"
            raise UserError(
                f"'{path}' holds images of {len(cameras)} cameras ({', '.join(cameras[:4])}...); name those of one, "
                f'such as "{images[0].parent / chosen}"'
            )


def _in_order(path: Path) -> tuple:
    """Names in the order of their numbers: 9 before 10."""
    parts = re.split(r"(\d+)", path.stem)
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in parts), path.name


def _to_8_bit(image: np.ndarray) -> np.ndarray:
    return np.rint(image / 257).astype(np.uint8) if image.dtype == np.uint16 else image


def _read(path: Path, flags: int) -> np.ndarray:
    try:
        image = decode_image(path, flags)
    except OSError as error:
        raise UserError(f"cannot read '{path}' ({error.strerror})") from None
    if image is None and (words := wrong_kind(_first_bytes(path), "an image")):
        raise UserError(f"'{path}' {words}")
    if image is None or image.dtype not in (np.uint8, np.uint16):
        raise UserError(f"'{path}' is not a readable image of 8 or 16 bits; remove or replace it")
    return image


def _first_bytes(path: Path) -> bytes:
    with open_plain(path) as file:
        return file.read(FIRST_BYTES)
