"""Images, videos and datasets that were made to do harm."""

from __future__ import annotations

import os
import struct
import time
import zlib

import numpy as np
import pytest

from nha.core.errors import UserError
from nha.data.dataset_check import check_dataset
from nha.data.dataset_folder import DatasetFolder, Keypoints, read_labels, read_rgb, write_keypoints
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
    "tiff": b"II*\0\x08\0\0\0" + b"\xff" * 500,
}


@pytest.mark.parametrize("name", IMAGES)
def test_images_that_claim_to_be_huge(attempts, tmp_path, name):
    (tmp_path / "x.png").write_bytes(IMAGES[name])
    with bounded_memory():
        assert all(attempts.read(read, tmp_path / "x.png") for read in (read_rgb, read_labels, read_image))


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
