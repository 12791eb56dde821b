"""Recognising files of an unfinished dataset that are damaged, or that a killed run has left half written."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nha.core.json_file import read_json
from nha.core.plain_file import LARGEST_IMAGE_BYTES, read_plain
from nha.data.video_io import video_info
from nha.preprocess.frame_job import read_detection

DAMAGED_SUFFIX = ".damaged"  # added to the name of a file that is set aside

_PNG_START = b"\x89PNG\r\n\x1a\n"


def is_readable(path: Path) -> bool:
    """Whether a file of the dataset is whole, as far as its own format tells."""
    try:
        _CHECKS[path.suffix](path)
    except Exception:  # a damaged file can cause nearly any error
        return False
    return True


def can_check(path: Path) -> bool:
    """Whether `is_readable` knows the kind of a file, by its suffix."""
    return path.suffix in _CHECKS


def _check_png(path: Path) -> None:
    """Raise ValueError or struct.error for a PNG that is cut off, or one of whose checksums is wrong."""
    content = read_plain(path, LARGEST_IMAGE_BYTES)
    if not content.startswith(_PNG_START):
        raise ValueError("not a PNG")
    position, kind = len(_PNG_START), b""
    while kind != b"IEND":
        size, kind = struct.unpack_from(">I4s", content, position)
        end = position + 8 + size
        (checksum,) = struct.unpack_from(">I", content, end)
        if zlib.crc32(content[position + 4 : end]) != checksum:
            raise ValueError("a wrong checksum")
        position = end + 4


_CHECKS: dict[str, Callable[[Path], Any]] = {
    ".png": _check_png,
    ".json": read_json,
    ".npz": read_detection,
    ".mp4": video_info,
}
