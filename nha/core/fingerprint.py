"""Fingerprints of file contents, by which a run recognises that its inputs have changed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

_CHUNK_BYTES = 1 << 20
_PNG_TAIL_BYTES = 64  # the end of a PNG's compressed data is a checksum of all of its pixels


def file_digest(path: str | Path) -> str:
    """SHA-256 of a whole file, hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def files_digest(paths: Iterable[Path], root: Path) -> str:
    """SHA-256 over names, sizes and contents of many files, hexadecimal.

    Of a PNG only its end is read, which holds a checksum of the image; a thousand frames take about 0.2 s.

    Args:
        paths: the files; those that do not exist count as absent.
        root: names are relative to it, so a folder that is moved keeps its fingerprint.
    """
    digest = hashlib.sha256()
    for path in paths:
        try:
            with open(path, "rb") as file:
                size = file.seek(0, 2)
                file.seek(max(0, size - _PNG_TAIL_BYTES) if path.suffix == ".png" else 0)
                content = file.read()
        except FileNotFoundError:
            size, content = -1, b""
        digest.update(f"{path.relative_to(root).as_posix()} {size} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()
