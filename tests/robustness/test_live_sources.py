"""Videos as a source of live driving: damaged and hostile files, late images, and clocks that go back."""

from __future__ import annotations

import itertools
import os
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from nha.core.errors import UserError
from nha.data.video_io import VideoWriter
from nha.live.sources import _played, open_source


def frames(size: tuple[int, int], count: int) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 255, (count, *size, 3), np.uint8))


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("live") / "video.mp4"
    with VideoWriter(path, 25) as writer:
        for rgb in frames((48, 64), 8):
            writer.write(rgb)
    return path


def raw_h264(size: tuple[int, int], count: int, path: Path) -> bytes:
    with av.open(str(path), "w", format="h264") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        for rgb in frames(size, count):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb).reformat(format="yuv420p")))
        container.mux(stream.encode(None))
    return path.read_bytes()


def follow(path: Path | str, n_images: int = 12) -> UserError | None:
    """Read so many images of a source that repeats; returns the error that ended it."""
    source = open_source(str(path), repeat=True)
    try:
        until = time.monotonic() + 30
        while source.n_read < n_images and not source.has_ended:
            assert time.monotonic() < until
            source.latest(source.n_read, 0.1)
        assert source.error is None or isinstance(source.error, UserError)
        return source.error
    finally:
        source.close()


def test_damaged_videos_are_played_or_refused_in_one_line(video, tmp_path, attempts):
    whole, path = video.read_bytes(), tmp_path / "x.mp4"
    rng = np.random.default_rng(1)
    for share in (0.0, 0.1, 0.5, 0.8, 0.98):
        path.write_bytes(whole[: int(len(whole) * share)])
        attempts.read(lambda path: follow(path, 3), path)
    for _ in range(8):
        damaged = bytearray(whole)
        for i in rng.integers(0, len(whole), 20):
            damaged[i] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        attempts.read(lambda path: follow(path, 3), path)


def test_what_is_no_video_is_refused_in_one_line(video, tmp_path, attempts):
    (tmp_path / "list.mp4").write_text(f"#EXTM3U\n#EXTINF:1\n{video}\n")
    (tmp_path / "parts.mp4").write_text(f"ffconcat version 1.0\nfile {video}\n")
    os.mkfifo(tmp_path / "pipe.mp4")
    sources = [
        tmp_path / "list.mp4",
        tmp_path / "parts.mp4",
        tmp_path / "pipe.mp4",
        "/dev/zero",
        "/dev/stdin",
    ]
    for source in (*sources, "", "a\0b", "~nobody_has_this_name/x.mp4", "9" * 5000, "\u00b2", "-1"):
        assert attempts.read(lambda text: open_source(str(text)), source)


def test_images_of_changing_size_are_played(tmp_path):
    path = tmp_path / "sizes.h264"
    parts = [raw_h264(size, 3, tmp_path / "part.h264") for size in ((64, 64), (96, 128), (640, 32))]
    path.write_bytes(b"".join(parts))
    sizes = {rgb.shape[:2] for _, rgb in itertools.islice(_played(path, 1000.0, True), 12)}
    assert sizes == {(64, 64), (96, 128), (640, 32)}


def test_a_video_of_one_image_that_is_removed_ends_in_one_line(tmp_path):
    path = tmp_path / "one.mp4"
    with VideoWriter(path, Fraction(200)) as writer:
        writer.write(frames((16, 16), 1)[0])
    assert follow(path) is None
    source = open_source(str(path), repeat=True)
    path.unlink()
    until = time.monotonic() + 30
    while not source.has_ended:
        assert time.monotonic() < until
        time.sleep(0.01)
    assert "video not found" in str(source.error)


def test_a_damaged_video_says_so_once(video, tmp_path, caplog):
    data = video.read_bytes()
    start = data.index(b"mdat") + 4
    path = tmp_path / "cut.mp4"
    middle = start + (len(data) - start) // 2
    path.write_bytes(data[:middle] + b"\xff" * (len(data) - middle))
    for _ in itertools.islice(_played(path, 1000.0, True), 20):
        pass
    assert caplog.text.count("is truncated") == 1


def test_after_a_stop_a_video_goes_on_at_its_speed(video):
    """As after SIGSTOP and SIGCONT: an hour of images is not made up for."""
    now = [50.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    played = _played(video, 20.0, True, lambda: now[0], sleep)
    next(played)
    now[0] += 3600
    due = [next(played)[0] for _ in range(5)]
    assert due == pytest.approx([3650 + i / 20 for i in range(5)])
