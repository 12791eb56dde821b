"""Images, videos and datasets that were made to do harm."""

from __future__ import annotations

import os
import struct
import time
import zlib
from fractions import Fraction

import cv2
import numpy as np
import pytest

from nha.core.errors import UserError
from nha.core.image_header import claimed_pixels
from nha.data.dataset_check import check_dataset
from nha.data.dataset_folder import (
    DatasetFolder,
    Keypoints,
    read_labels,
    read_rgb,
    write_keypoints,
    write_rgb,
)
from nha.data.displayed_frame import square_pixels
from nha.data.findings import Fault
from nha.data.image_sequence import read_image
from nha.data.video_io import VideoWriter, video_info
from nha.preprocess.crop import FrameTransform
from tests.robustness.conftest import bounded_memory


def png(width: int, height: int, colour_type: int = 2, body: bytes = bytes(100)) -> bytes:
    """A PNG whose header may claim another size than its pixels have."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + content


IMAGES = {
    "65535 x 65535": png(65535, 65535),
    "30000 x 30000": png(30000, 30000),
    "grey 30000 x 30000": png(30000, 30000, 0),
    "1 x 1e9": png(1, 10**9),
    "2^31 x 1": png(2**31, 1),
    "0 x 0": png(0, 0),
    "jpeg": b"\xff\xd8\xff\xc0\x00\x11\x08\xff\xff\xff\xff\x03" + bytes(100),
    "jpeg without an end": b"\xff\xd8" + b"\xff\xe0\x00\x00" * 1000,
    "a part of 4 GB": png(8, 8)[:33] + b"\xff\xff\xff\xf0acTL" + png(8, 8)[33:],
    "a part without an end": png(8, 8)[:-12] + b"\x7f\xff\xff\xffIDAT",
    "tiff": b"II*\0\x08\0\0\0" + b"\xff" * 500,
}


@pytest.mark.parametrize("name", IMAGES)
def test_images_that_claim_to_be_huge(attempts, tmp_path, name):
    (tmp_path / "x.png").write_bytes(IMAGES[name])
    with bounded_memory():
        assert all(attempts.read(read, tmp_path / "x.png") for read in (read_rgb, read_labels, read_image))


def tiff(width: int, height: int) -> bytes:
    """A TIFF without pixels."""
    entries = [
        (256, 4, width),
        (257, 4, height),
        (258, 3, 8),
        (259, 3, 1),
        (262, 3, 1),
        (273, 4, 8),
        (277, 3, 1),
    ]
    content = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + content + bytes(4)


def encoded(suffix: str, image: np.ndarray, *options: int) -> bytes:
    return cv2.imencode(suffix, image, options)[1].tobytes()


SMALL = np.zeros((8, 12, 3), np.uint8)
LOSSLESS = (cv2.IMWRITE_WEBP_QUALITY, 101)
SIZES = {
    "png": (encoded(".png", SMALL), 96),
    "jpeg": (encoded(".jpg", SMALL), 96),
    "progressive jpeg": (encoded(".jpg", SMALL, cv2.IMWRITE_JPEG_PROGRESSIVE, 1), 96),
    "jpeg with bytes between its parts": (b"\xff\xd8\0\0\xff\xff" + encoded(".jpg", SMALL)[2:], 96),
    "webp": (encoded(".webp", SMALL), 96),
    "lossless webp": (encoded(".webp", SMALL, *LOSSLESS), 96),
    "webp with alpha": (encoded(".webp", np.zeros((8, 12, 4), np.uint8)), 96),
    "bmp": (encoded(".bmp", SMALL), 96),
    "bmp upside down": (b"BM" + bytes(12) + struct.pack("<Iii", 40, 12, -8), 96),
    "tiff": (encoded(".tiff", SMALL), 96),
    "big-endian tiff": (
        b"MM\0*\0\0\0\x08\0\2" + struct.pack(">HHIHHHHII", 256, 3, 1, 12, 0, 257, 4, 1, 8),
        96,
    ),
    "portable map": (b"P5 12 8 255\n" + bytes(96), 0),
    "gif": (b"GIF89a\x0c\0\x08\0" + bytes(100), 0),
    "nothing": (b"", 0),
}


@pytest.mark.parametrize("name", SIZES)
def test_the_size_of_an_image_is_known_before_it_is_decoded(name):
    content, pixels = SIZES[name]
    assert claimed_pixels(content) == pixels
    for end in range(len(content) if len(content) < 200 else 40):
        claimed_pixels(content[:end])  # raises nothing


BOMBS = {
    "webp": encoded(".webp", np.zeros((10_001, 10_000), np.uint8), *LOSSLESS),
    "tiff": tiff(40_000, 40_000),
    "bmp": b"BM" + bytes(8) + struct.pack("<IIiiHHII", 54, 40, 30_000, 30_000, 1, 24, 0, 0) + bytes(100),
    "portable map": b"P6 30000 30000 255\n",
    "radiance": b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 20000 +X 20000\n",
}


@pytest.mark.parametrize("name", BOMBS)
def test_small_images_of_other_formats_that_expand_far(attempts, tmp_path, name):
    assert len(BOMBS[name]) < 2 << 20
    (tmp_path / "x.png").write_bytes(BOMBS[name])
    with bounded_memory():
        assert all(attempts.read(read, tmp_path / "x.png") for read in (read_rgb, read_labels, read_image))


@pytest.mark.parametrize("size", [(1, 20_000), (2000, 2)])
def test_images_that_are_all_width_or_height_are_refused(tmp_path, size):
    for i in range(2):
        write_rgb(tmp_path / f"{i}.png", np.zeros((*size, 3), np.uint8))
    with pytest.raises(UserError, match=f"frames of {size[1]} x {size[0]} pixels cannot be used"):
        video_info(tmp_path)


def test_pixels_that_claim_to_be_very_wide_are_refused():
    with bounded_memory(), pytest.raises(UserError, match="frames of 65535000 x 1000 pixels cannot be used"):
        square_pixels(np.zeros((1000, 1000, 3), np.uint8), Fraction(65535))


VIDEO_STARTS = {
    "wav": b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0\x02\0\x44\xac\0\0\x10\xb1\x02\0\x04\0\x10\0data\xff",
    "mp4 without an index": b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom\0\0\0\x01mdat\x7f\xff\xff\xff\xff\xff\xff\xff",
    "mp4 of itself": b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom"
    + b"\x7f\xff\xff\xffmoov\x7f\xff\xff\xfftrak" * 100,
    "gif": b"GIF89a\xff\xff\xff\xff\xf7\0\0" + bytes(1000),
    "avi": b"RIFF\xff\xff\xff\xffAVI LIST\xff\xff\xff\x7fhdrlavih" + b"\xff" * 200,
    "y4m": b"YUV4MPEG2 W60000 H60000 F25:1 C420\nFRAME\n" + bytes(100),
    "text": b"error: forged\n" * 1000,
}


LISTS = {
    "m3u": "#EXTM3U\n#EXTINF:1,\n{}\n",
    "m3u with a byte order mark": "\ufeff\n#EXTM3U\n{}\n",
    "concat": "ffconcat version 1.0\nfile '{}'\n",
    "dash": "<?xml version='1.0'?><MPD><BaseURL>{}</BaseURL></MPD>",
}


@pytest.mark.parametrize("suffix", [".mp4", ".m3u8", ".txt"])
@pytest.mark.parametrize("name", LISTS)
def test_lists_of_other_files_are_refused(attempts, tmp_path, name, suffix):
    with VideoWriter(tmp_path / "private.mp4") as video:
        video.write(np.zeros((32, 32, 3), np.uint8))
    (tmp_path / f"x{suffix}").write_text(LISTS[name].format(tmp_path / "private.mp4"), encoding="utf-8")
    assert "list of other files" in attempts.read(video_info, tmp_path / f"x{suffix}")


@pytest.mark.parametrize(
    "change", [{"w_out": 10**9}, {"crop_x": -(10**400)}, {"w_in": float("inf")}, {"h_in": "a"}]
)
def test_transforms_beyond_any_image_are_refused(change):
    good = {"crop_x": 0, "crop_y": 0, "crop_w": 4, "crop_h": 4, "w_in": 4, "h_in": 4, "w_out": 4, "h_out": 4}
    FrameTransform.from_json(good)
    with pytest.raises(UserError, match="expected format"):
        FrameTransform.from_json(good | change)


@pytest.mark.parametrize("name", VIDEO_STARTS)
def test_odd_videos(attempts, tmp_path, name):
    (tmp_path / "x.mp4").write_bytes(VIDEO_STARTS[name])
    with bounded_memory():
        assert attempts.read(video_info, tmp_path / "x.mp4")


# --- datasets -------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name != "posix", reason="named pipes")
@pytest.mark.parametrize("name", ["image", "keypoints", "parsing", "segmentation", "normals"])
def test_a_pipe_in_a_dataset_is_a_finding(tiny_dataset, attempts, name):
    tiny = tiny_dataset()
    path = getattr(DatasetFolder(tiny.data_path).paths(1), name)
    path.unlink()
    os.mkfifo(path)
    began = time.monotonic()
    check = check_dataset(tiny.data_path)
    assert time.monotonic() - began < 20
    assert any(
        finding.fault in (Fault.MISSING_FILE, Fault.UNREADABLE) and finding.frame_id == 1
        for finding in check.findings
    )


def test_landmarks_in_one_point_are_a_finding(tiny_dataset):
    tiny = tiny_dataset()
    ones, point = np.ones(68, np.float32), np.full((70, 2), 5, np.float32)
    keypoints = Keypoints(point[:68], 0 * ones, ones, point[68:])
    write_keypoints(DatasetFolder(tiny.data_path).paths(2).keypoints, keypoints)
    found = [finding.detail for finding in check_dataset(tiny.data_path).findings if finding.frame_id == 2]
    assert any("which is no face" in detail for detail in found)
