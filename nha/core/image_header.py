"""Kind and size of an image file from its first bytes, before a decoder takes memory for what the file claims to be."""

from __future__ import annotations

import struct
from collections.abc import Callable

# Markers of JPEG that begin a frame: all of C0 to CF but tables (C4, CC) and a reserved one (C8).
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_WITHOUT_LENGTH = frozenset({0x00, 0x01, *range(0xD0, 0xD9)})
_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_SHORT = 256, 257, 3
_MOST_TIFF_ENTRIES = 1000


def claimed_pixels(encoded: bytes) -> int:
    """Width times height that the header of a PNG, JPEG, WebP, BMP or TIFF file claims; 0 for every other file."""
    for beginning, read_size in _KINDS:
        if encoded.startswith(beginning):
            try:
                width, height = read_size(encoded)
            except struct.error:  # the file ends within its header
                return 0
            return abs(width * height)
    return 0


def is_cut_png(encoded: bytes) -> bool:
    """Whether a part of a PNG claims to be longer than the file; decoders take that much memory first."""
    position, kind = 8, b""
    while encoded[:8] == b"\x89PNG\r\n\x1a\n" and kind != b"IEND":
        kind = encoded[position + 4 : position + 8]
        position += 12 + int.from_bytes(encoded[position : position + 4], "big")
        if position > len(encoded):
            return True
    return False


def _png_size(encoded: bytes) -> tuple[int, int]:
    return struct.unpack_from(">II", encoded, 16)


def _jpeg_size(encoded: bytes) -> tuple[int, int]:
    position = 2
    # as decoders do, bytes between two parts are skipped
    while 0 <= (position := encoded.find(b"\xff", position)) < len(encoded) - 9:
        marker = encoded[position + 1]
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", encoded, position + 5)
            return width, height
        if marker == 0xFF:
            position += 1
        elif marker in _JPEG_WITHOUT_LENGTH:
            position += 2
        else:
            position += 2 + max(2, *struct.unpack_from(">H", encoded, position + 2))
    return 0, 0


def _webp_size(encoded: bytes) -> tuple[int, int]:
    kind = encoded[12:16]
    if encoded[8:12] != b"WEBP":
        return 0, 0
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", encoded, 26)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", encoded, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8X":
        return int.from_bytes(encoded[24:27], "little") + 1, int.from_bytes(encoded[27:30], "little") + 1
    return 0, 0


def _bmp_size(encoded: bytes) -> tuple[int, int]:
    (header_bytes,) = struct.unpack_from("<I", encoded, 14)
    return struct.unpack_from("<HH" if header_bytes == 12 else "<ii", encoded, 18)


def _tiff_size(encoded: bytes) -> tuple[int, int]:
    order = "<" if encoded[:2] == b"II" else ">"
    (start,) = struct.unpack_from(f"{order}I", encoded, 4)
    (count,) = struct.unpack_from(f"{order}H", encoded, start)
    found = {}
    for i in range(min(count, _MOST_TIFF_ENTRIES)):
        tag, kind = struct.unpack_from(f"{order}HH", encoded, start + 2 + 12 * i)
        number = "H" if kind == _TIFF_SHORT else "I"
        (found[tag],) = struct.unpack_from(f"{order}{number}", encoded, start + 10 + 12 * i)
    return found.get(_TIFF_WIDTH, 0), found.get(_TIFF_HEIGHT, 0)


_KINDS: tuple[tuple[bytes, Callable[[bytes], tuple[int, int]]], ...] = (
    (b"\x89PNG\r\n\x1a\n", _png_size),
    (b"\xff\xd8", _jpeg_size),
    (b"RIFF", _webp_size),
    (b"BM", _bmp_size),
    (b"II*\0", _tiff_size),
    (b"MM\0*", _tiff_size),
)
