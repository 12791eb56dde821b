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
from nha.core.file_kind import FIRST_BYTES, wrong_kind
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
def open_untrusted(path: str | Path, expected: str = "a zip archive") -> Iterator[BinaryIO]:
    """Open a file and turn every error inside the `with` block into a `UserError` of one line.

    Args:
        path: the file.
        expected: a kind of file that is right, see `wrong_kind`.

    Yields:
        The file, opened for reading in binary mode.

    Raises:
        UserError: the file cannot be opened, is the remainder of a failed download or a file of another kind, is a
            truncated zip archive, or the block raised an exception.
    """
    path = Path(path)
    try:
        with open_plain(path) as file:
            check_start(file, expected)
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


def check_start(file: BinaryIO, expected: str = "a zip archive") -> None:
    """Raise RejectedFileError for what a failed download leaves behind, and for files of other kinds.

    Args:
        file: at its start, where it is afterwards, too.
        expected: see `wrong_kind`.
    """
    start = file.read(FIRST_BYTES)
    if start.startswith(b"PK\x03\x04") and not zipfile.is_zipfile(file):
        raise RejectedFileError("is truncated, so its download or copy stopped early; download it again")
    if words := wrong_kind(start, expected):
        raise RejectedFileError(words)
    file.seek(0)
