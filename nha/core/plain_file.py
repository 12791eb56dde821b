"""Opening files whose names come from a user or from a dataset: only regular files, of a size that they may have.

A named pipe in the place of a file would block a program for ever, and a device would fill its memory.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

LARGEST_TEXT_BYTES = 64 << 20  # of settings, splits, keypoints and other small files
LARGEST_IMAGE_BYTES = 1 << 30

_KINDS = (
    (stat.S_ISFIFO, "it is a named pipe, no file"),
    (stat.S_ISSOCK, "it is a socket, no file"),
    (stat.S_ISCHR, "it is a device, no file"),
    (stat.S_ISBLK, "it is a device, no file"),
)


def open_plain(path: str | Path, largest_bytes: int | None = None) -> BinaryIO:
    """Open a regular file for reading in binary mode.

    Args:
        path: the file; a link to one is followed.
        largest_bytes: the size that it may have; None for any.

    Raises:
        OSError: as `open`, and with a `strerror` that says so for a pipe, a device, a folder or a larger file.
    """
    # without O_NONBLOCK, opening a pipe waits for its other end
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        status = os.fstat(handle)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        for is_kind, reason in _KINDS:
            if is_kind(status.st_mode):
                raise OSError(errno.EINVAL, reason, str(path))
        if largest_bytes is not None and status.st_size > largest_bytes:
            raise OSError(errno.EINVAL, f"it has {status.st_size} bytes, which no such file has", str(path))
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_plain(path: str | Path, largest_bytes: int = LARGEST_TEXT_BYTES) -> bytes:
    """The content of a regular file. Raises OSError as `open_plain` does."""
    with open_plain(path, largest_bytes) as file:
        return file.read()


def read_plain_text(path: str | Path, encoding: str = "utf-8") -> str:
    """The text of a regular file. Raises OSError as `open_plain`, UnicodeDecodeError as `bytes.decode`."""
    return read_plain(path).decode(encoding)
