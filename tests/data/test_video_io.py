"""Reading and writing of video files: odd formats, rotation marks, broken input, atomic output."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from nha.core.errors import UserError
from nha.data import video_io
from nha.data.video_io import VideoWriter, count_packets, iterate_frames, video_info
from tests.clips import break_off, encode, mark_quarter_turn

RED, GREEN, BLUE, WHITE = (200, 40, 40), (40, 190, 60), (50, 60, 210), (240, 240, 240)


def quadrants(height: int = 48, width: int = 64) -> np.ndarray:
    """Red top left, green top right, blue bottom left, white bottom right: uint8 [H, W, 3]."""
    image = np.empty((height, width, 3), np.uint8)
    image[: height // 2, : width // 2], image[: height // 2, width // 2 :] = RED, GREEN
    image[height // 2 :, : width // 2], image[height // 2 :, width // 2 :] = BLUE, WHITE
    return image


def corner_colours(image: np.ndarray) -> list[tuple[int, ...]]:
    """Colours near the four corners: top left, top right, bottom left, bottom right."""
    return [tuple(int(c) for c in image[y, x]) for y in (5, -6) for x in (5, -6)]


def assert_close_colours(
    found: list[tuple[int, ...]], expected: list[tuple[int, ...]], tolerance: int = 6
) -> None:
    assert np.abs(np.array(found) - np.array(expected)).max() <= tolerance, (found, expected)


def write_all(path: Path, images: list[np.ndarray]) -> None:
    with VideoWriter(path) as writer:
        for image in images:
            writer.write(image)


@pytest.mark.parametrize(("height", "width"), [(48, 64), (47, 63)])
def test_round_trip_keeps_order_and_colours(tmp_path, height, width):
    path = tmp_path / 'it\'s a "clip".mp4'
    frames = [np.roll(quadrants(height, width), shift * width // 2, axis=1) for shift in (0, 1, 0)]
    with VideoWriter(path, fps=Fraction(30000, 1001)) as writer:
        for frame in frames:
            writer.write(frame)
    decoded = list(iterate_frames(path))
    assert len(decoded) == 3
    assert decoded[0].shape == (48, 64, 3)
    assert decoded[0].dtype == np.uint8
    for original, copy in zip(frames, decoded, strict=True):
        assert_close_colours(corner_colours(copy), corner_colours(original))
    info = video_info(path)
    assert (info.width, info.height, info.fps, info.codec) == (64, 48, Fraction(30000, 1001), "h264")
    with av.open(str(path)) as container:
        assert container.streams.video[0].pix_fmt == "yuv420p"


def test_an_interrupted_writer_leaves_the_old_file(tmp_path):
    path = tmp_path / "v.mp4"
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match="uint8"):
        write_all(path, [quadrants(), np.zeros(3)])
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["v.mp4"]


def test_writer_refuses_wrong_images(tmp_path):
    for images, message in [
        ([], "no frame was written"),
        ([np.zeros((8, 8, 3), np.float32)], "uint8"),
        ([quadrants(), quadrants(24, 32)], "the video is"),
    ]:
        with pytest.raises(ValueError, match=message):
            write_all(tmp_path / "v.mp4", images)
    assert list(tmp_path.iterdir()) == []


def test_rotation_mark_is_applied(tmp_path):
    path = tmp_path / "phone.mp4"
    with VideoWriter(path) as writer:
        writer.write(quadrants())
    mark_quarter_turn(path)
    (frame,) = iterate_frames(path)
    assert frame.shape == (64, 48, 3)
    assert_close_colours(corner_colours(frame), [BLUE, RED, WHITE, GREEN])
    assert (video_info(path).width, video_info(path).height) == (48, 64)


def test_ten_bit_and_grey_become_eight_bit_rgb(tmp_path):
    ten_bit = encode(tmp_path / "ten.mkv", [quadrants()], "rgb24", "ffv1", "yuv420p10le")
    assert_close_colours(
        corner_colours(next(iterate_frames(ten_bit))), [RED, GREEN, BLUE, WHITE], tolerance=6
    )
    grey = encode(tmp_path / "grey.mkv", [quadrants()[..., 0]], "gray", "ffv1", "gray")
    found = corner_colours(next(iterate_frames(grey)))
    assert_close_colours(found, [(200,) * 3, (40,) * 3, (50,) * 3, (240,) * 3])


def test_transparent_pixels_become_white(tmp_path):
    rgba = np.concatenate([quadrants(), np.full((48, 64, 1), 255, np.uint8)], axis=2)
    rgba[:24, :32, 3] = 0
    path = encode(tmp_path / "alpha.mov", [rgba], "rgba", "png", "rgba")
    assert_close_colours(corner_colours(next(iterate_frames(path))), [(255,) * 3, GREEN, BLUE, WHITE])


def test_wide_pixels_become_square(tmp_path):
    path = encode(
        tmp_path / "wide.mp4",
        [quadrants()],
        "rgb24",
        "libx264",
        "yuv420p",
        sample_aspect_ratio=Fraction(2, 1),
    )
    assert next(iterate_frames(path)).shape == (48, 128, 3)


def two_streams(path: Path, sizes: list[tuple[int, int]], defaults: list[bool]) -> Path:
    """A video with two streams: grey levels 60 and 180."""
    with av.open(str(path), "w") as container:
        streams = []
        for (height, width), is_default in zip(sizes, defaults, strict=True):
            stream = container.add_stream("ffv1", rate=25)
            stream.height, stream.width, stream.pix_fmt = height, width, "bgr0"
            stream.disposition = Disposition.default if is_default else Disposition(0)
            streams.append(stream)
        for stream, level in zip(streams, (60, 180), strict=True):
            image = np.full((stream.height, stream.width, 3), level, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("sizes", "defaults", "used"),
    [
        ([(24, 32), (48, 64)], [True, True], 1),  # the largest
        ([(24, 32), (48, 64)], [False, False], 1),
        ([(48, 64), (24, 32)], [False, True], 1),  # the default one
        ([(48, 64), (48, 64)], [True, True], 0),  # the first
    ],
)
def test_of_two_video_streams_the_main_one_is_used(tmp_path, caplog, sizes, defaults, used):
    path = two_streams(tmp_path / f"two_{used}.mkv", sizes, defaults)
    (frame,) = iterate_frames(path)
    assert frame.shape[:2] == sizes[used]
    assert frame.mean() == (60, 180)[used]
    assert count_packets(path) == 1
    height, width = sizes[used]
    assert f"has 2 video streams; stream {used} is used ({width} x {height} pixels)" in caplog.text


def test_a_cover_image_is_no_video(tmp_path, caplog):
    path = tmp_path / "with_cover.mp4"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream(codec, rate=25) for codec in ("mjpeg", "libx264")]
        for stream, side, pix_fmt in zip(streams, (128, 64), ("yuvj420p", "yuv420p"), strict=True):
            stream.height, stream.width, stream.pix_fmt = side, side, pix_fmt
        streams[0].disposition = Disposition.attached_pic
        for stream in streams:
            frame = av.VideoFrame.from_ndarray(
                np.full((stream.height, stream.width, 3), 90, np.uint8), format="rgb24"
            )
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    (frame,) = iterate_frames(path)
    assert frame.shape == (64, 64, 3)
    assert "video streams" not in caplog.text


def test_header_is_not_trusted_when_the_file_breaks_off(tmp_path, caplog):
    path = tmp_path / "long.mkv"
    noise = np.random.default_rng(0).integers(0, 255, (20, 48, 64, 3), dtype=np.uint8)
    encode(path, list(noise), "rgb24", "ffv1", "bgr0")
    break_off(path, 0.5)
    n_frames = sum(1 for _ in iterate_frames(path))
    assert 5 <= n_frames <= 15


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.mp4", None, "not found"),
        ("empty.mp4", b"", "empty"),
        ("garbage.mp4", b"this is not a clip" * 99, "not a video"),
        ("letter.txt", b"Dear reader,\n" * 99, "no video|not a video"),
    ],
)
@pytest.mark.parametrize("read", [video_info, iterate_frames])
def test_bad_files_are_user_errors_of_one_line(tmp_path, name, content, message, read):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_folder_and_video_without_frames(tmp_path):
    with pytest.raises(UserError, match="not a video"):
        iterate_frames(tmp_path)
    path = tmp_path / "headless.mp4"
    with VideoWriter(path) as writer:
        writer.write(quadrants())
    content = path.read_bytes()
    media = content.index(b"mdat")
    path.write_bytes(content[: media + 4] + bytes(len(content) - media - 4))
    with pytest.raises(UserError, match="no frame"):
        list(iterate_frames(path))


@pytest.mark.parametrize("name", ["list.m3u8", "list.mp4", "parts.txt", "parts.mp4"])
def test_lists_of_other_files_are_refused(tmp_path, name):
    with VideoWriter(tmp_path / "other.mp4", 25) as video:
        video.write(np.zeros((64, 64, 3), np.uint8))
    playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nother.mp4\n#EXT-X-ENDLIST\n"
    text = playlist if name.startswith("list") else "ffconcat version 1.0\nfile other.mp4\n"
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match="not a video but a list of other files"):
        video_info(tmp_path / name)


def test_a_video_that_is_removed_while_it_is_opened_is_not_found(tmp_path, monkeypatch) -> None:
    path = tmp_path / "gone.mp4"
    path.write_bytes(b"?")

    def open_removed(removed):
        removed.unlink()
        return open(removed, "rb")

    monkeypatch.setattr(video_io, "open_plain", open_removed)
    with pytest.raises(UserError, match="video not found"):
        iterate_frames(path)
