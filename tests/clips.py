"""Video clips in formats that the project does not write, made with PyAV or by changing bytes of a file."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

MILLISECOND = Fraction(1, 1000)


def encode(
    path: Path,
    frames: Sequence[np.ndarray],
    array_format: str,
    codec: str,
    pix_fmt: str,
    times_ms: Sequence[int] | None = None,
    **options,
) -> Path:
    """Write a video with any codec.

    Args:
        path: the file.
        frames: images in PyAV's `array_format`.
        array_format, codec, pix_fmt: names of PyAV and FFmpeg.
        times_ms: presentation time of each frame, for a variable frame rate.
        options: attributes of the stream.
    """
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=options.pop("rate", 25))
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pix_fmt
        for name, value in options.items():
            setattr(stream, name, value)
        if times_ms is not None:
            stream.codec_context.time_base = MILLISECOND
        for i, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format=array_format)
            if times_ms is not None:
                frame.pts, frame.time_base = times_ms[i], MILLISECOND
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def mark_quarter_turn(path: Path) -> None:
    """Set rotation metadata of 90 degrees clockwise in an mp4, as a phone does when it is held upright."""
    mark_display_matrix(path, 0, 1, -1, 0)


def mark_display_matrix(path: Path, a: int, b: int, c: int, d: int) -> None:
    """Set the display matrix of an mp4's only track: pixel (p, q) is displayed at (a p + c q, b p + d q)."""
    one = 0x10000
    identity = struct.pack(">9i", one, 0, 0, 0, one, 0, 0, 0, 0x40000000)
    matrix = struct.pack(">9i", a * one, b * one, 0, c * one, d * one, 0, 0, 0, 0x40000000)
    content = path.read_bytes()
    position = content.index(identity, content.index(b"tkhd"))
    path.write_bytes(content[:position] + matrix + content[position + 36 :])


def claim_frames(path: Path, n_frames: int) -> None:
    """Set the number of frames in the headers of an avi file."""
    content = bytearray(path.read_bytes())
    in_file, in_stream = content.index(b"avih") + 8 + 16, content.index(b"strh") + 8 + 32
    for position in (in_file, in_stream):
        struct.pack_into("<I", content, position, n_frames)
    path.write_bytes(content)


def break_off(path: Path, share: float) -> None:
    """Truncate a file to a share of its size."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
