"""Error messages for files that were downloaded: what a file is instead of what was expected."""

from __future__ import annotations

import contextlib
import pickle
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from nha.core.errors import UserError
from nha.core.plain_file import open_plain
from nha.core.text import printable

_LARGEST_EXPANSION = 50  # of an archive, as a factor; masks of zeros compress well
_ALWAYS_ALLOWED_BYTES = 64 << 20


class RejectedFileError(Exception):
    """A file that is not read. The message continues a sentence that begins with the file's name."""


def forbidden_name(name: str) -> RejectedFileError:
    """The error for a file that refers to a function or class which must not be used."""
    name = name.encode("unicode_escape").decode()  # it may contain any characters
    return RejectedFileError(
        f"refers to {name}, which is not allowed in a file of arrays and settings (no code was executed; get the file"
        " from its publisher)"
    )


@contextlib.contextmanager
def open_untrusted(path: str | Path) -> Iterator[BinaryIO]:
    """Open a file and turn every error inside the `with` block into a `UserError` of one line.

    Args:
        path: the file.

    Yields:
        The file, opened for reading in binary mode.

    Raises:
        UserError: the file cannot be opened, is empty, is a web page or a Git LFS pointer, is a truncated zip
            archive, or the block raised an exception.
    """
    path = Path(path)
    try:
        with open_plain(path) as file:
            _check_start(file)
            yield file
    except UserError:
        raise
    except RejectedFileError as error:
        raise UserError(f"{path.name} {error}") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # a damaged file can cause nearly any of them
        name = re.search(r"GLOBAL (\S+) (?:whose module|was not an allowed)", str(error))
        if name:
            full_name = name[1] if "." in name[1] else f"builtins.{name[1]}"
            raise UserError(f"{path.name} {forbidden_name(full_name)}") from error
        if isinstance(error, pickle.UnpicklingError) and error.__context__:
            error = error.__context__  # torch.load puts several lines of advice around it
        reason = (str(error).strip() or type(error).__name__).split("\n")[0]
        raise UserError(f"{path.name} is damaged or not a file of this kind: {reason}") from error


def check_zip(file: BinaryIO) -> None:
    """Raise RejectedFileError for a zip archive (.pt, .ckpt, .npz) with a wrong checksum, or one that expands too far.

    PyTorch and numpy verify no checksums of their own. Other kinds of file are not looked at.
    """
    is_zip = zipfile.is_zipfile(file)
    file.seek(0)
    if not is_zip:
        return
    with zipfile.ZipFile(file) as archive:
        size = file.seek(0, 2)
        expanded = sum(entry.file_size for entry in archive.infolist())
        if expanded > _LARGEST_EXPANSION * size + _ALWAYS_ALLOWED_BYTES:
            raise RejectedFileError(f"is refused: its {size} bytes expand to {expanded}")
        if any(entry.flag_bits & 1 for entry in archive.infolist()):
            raise RejectedFileError("is encrypted; save it without a password")
        if (damaged := archive.testzip()) is not None:
            raise RejectedFileError(
                f"is damaged: the checksum of {printable(damaged)} in it is wrong; copy it again"
            )
    file.seek(0)


def _check_start(file: BinaryIO) -> None:
    """Recognise what a failed download leaves behind."""
    start = file.read(200)
    if not start:
        raise RejectedFileError("is empty; download it again")
    if re.match(rb"\s*<(!doctype html|html)", start, re.IGNORECASE):
        raise RejectedFileError("is a web page, so its download failed; download it with a web browser")
    if start.startswith(b"version https://git-lfs"):
        raise RejectedFileError(
            "is a Git LFS pointer, not the file itself; run `git lfs pull` or download it"
        )
    if start.startswith(b"PK\x03\x04") and not zipfile.is_zipfile(file):
        raise RejectedFileError("is truncated, so its download or copy stopped early; download it again")
    file.seek(0)
