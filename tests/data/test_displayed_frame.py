"""Orientation, colour matrices and ranges of decoded frames."""

from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace

from nha.data.displayed_frame import displayed_frame
from nha.data.video_io import VideoWriter, iterate_frames, video_info
from tests.clips import mark_display_matrix

SKIN, SHIRT = (205, 150, 120), (40, 90, 200)
# Kr and Kb of the colour matrices
WEIGHTS = {Colorspace.ITU601: (0.299, 0.114), Colorspace.ITU709: (0.2126, 0.0722)}

ORIENTATIONS = [(a, 0, 0, d) for a, d in itertools.product((1, -1), (1, -1))] + [
    (0, b, c, 0) for b, c in itertools.product((1, -1), (1, -1))
]


def halves(height: int = 48, width: int = 64) -> np.ndarray:
    """Grey levels that differ in the four quadrants: uint8 [H, W, 3]."""
    image = np.empty((height, width, 3), np.uint8)
    image[: height // 2, : width // 2], image[: height // 2, width // 2 :] = 30, 90
    image[height // 2 :, : width // 2], image[height // 2 :, width // 2 :] = 150, 220
    return image


def displayed_at(image: np.ndarray, a: int, b: int, c: int, d: int) -> np.ndarray:
    """Move every pixel (p, q) to (a p + c q, b p + d q), as ISO/IEC 14496-12 defines, and shift the result to 0."""
    height, width = image.shape[:2]
    q, p = np.mgrid[:height, :width]
    x, y = a * p + c * q, b * p + d * q
    x, y = x - x.min(), y - y.min()
    result = np.empty((y.max() + 1, x.max() + 1, *image.shape[2:]), image.dtype)
    result[y, x] = image
    return result


@pytest.mark.parametrize("matrix", ORIENTATIONS)
def test_all_eight_orientations(tmp_path, matrix):
    path = tmp_path / "clip.mp4"
    with VideoWriter(path) as writer:
        writer.write(halves())
    if matrix != (1, 0, 0, 1):
        mark_display_matrix(path, *matrix)
    (frame,) = iterate_frames(path)
    expected = displayed_at(halves(), *matrix)
    assert frame.shape == expected.shape
    assert np.abs(frame.astype(int) - expected).mean() < 4
    info = video_info(path)
    assert (info.height, info.width) == expected.shape[:2]


def test_the_mirrored_case_is_upright(shared_dir):
    path = shared_dir / "cases" / "hflip.mp4"
    if not path.is_file():
        pytest.skip("the case is not there")
    with av.open(str(path)) as container:
        stored = next(container.decode(video=0)).to_ndarray(format="rgb24")
    np.testing.assert_array_equal(next(iterate_frames(path)), stored[:, ::-1])


def yuv_frame(rgb: np.ndarray, matrix: Colorspace, full_range: bool) -> av.VideoFrame:
    """An image as yuv444p, without metadata, by the formulas of BT.601 and BT.709."""
    kr, kb = WEIGHTS[matrix]
    r, g, b = np.moveaxis(rgb / 255, -1, 0)
    luma = kr * r + (1 - kr - kb) * g + kb * b
    chroma = np.stack([(b - luma) / (2 - 2 * kb), (r - luma) / (2 - 2 * kr)])
    planes = np.concatenate([luma[None], chroma])
    scale, offset = ((255, 255, 255), (0, 128, 128)) if full_range else ((219, 224, 224), (16, 128, 128))
    planes = np.rint(planes * np.reshape(scale, (3, 1, 1)) + np.reshape(offset, (3, 1, 1))).astype(np.uint8)
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(planes), format="yuv444p")


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("matrix", list(WEIGHTS))
def test_matrix_and_range_of_the_metadata_are_respected(matrix, full_range):
    rgb = np.stack([np.full((16, 16, 3), colour, np.uint8) for colour in (SKIN, SHIRT)]).reshape(32, 16, 3)
    frame = yuv_frame(rgb, matrix, full_range)
    frame.colorspace = matrix
    frame.color_range = ColorRange.JPEG if full_range else ColorRange.MPEG
    assert np.abs(displayed_frame(frame).rgb.astype(int) - rgb).max() <= 3


@pytest.mark.parametrize(("height", "matrix"), [(480, Colorspace.ITU601), (720, Colorspace.ITU709)])
def test_without_metadata_the_height_tells_the_matrix(height, matrix):
    """As players do: a video of 720 lines without metadata had skin 24 of 255 off."""
    rgb = np.full((height, 16, 3), SKIN, np.uint8)
    frame = yuv_frame(rgb, matrix, full_range=False)
    assert np.abs(displayed_frame(frame).rgb.astype(int) - rgb).max() <= 3


def test_a_large_jpeg_is_bt601():
    rgb = np.full((720, 16, 3), SKIN, np.uint8)
    frame = yuv_frame(rgb, Colorspace.ITU601, full_range=True)
    frame.color_range = ColorRange.JPEG
    assert np.abs(displayed_frame(frame).rgb.astype(int) - rgb).max() <= 3


def test_alpha_is_oriented_as_the_colours(tmp_path: Path):
    rgba = np.concatenate([halves(), halves()[..., :1]], axis=2)
    frame = av.VideoFrame.from_ndarray(rgba, format="rgba")
    shown = displayed_frame(frame, Fraction(2, 1))
    assert shown.rgb.shape == (48, 128, 3)
    np.testing.assert_array_equal(shown.alpha, np.repeat(rgba[..., 3], 2, axis=1))
