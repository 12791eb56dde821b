"""The arrays of a tracking file: reading of the archive, and conversion to the types that the program uses."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np

from nha.core.errors import UserError
from nha.core.plain_file import open_plain
from nha.core.text import shortened
from nha.core.untrusted_file import RejectedFileError, check_start, check_zip


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an npz file. Raises UserError for another, a damaged, or an encrypted file."""
    try:
        with open_plain(path) as file:  # np.load given a path leaves the file open when it fails
            _require_archive(file, path)
            check_zip(file)  # numpy verifies no checksums, and expands what it finds
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ValueError("a single array")
            entries = ((key, archive[key]) for key in archive.files)
            return {key: entry for key, entry in entries if isinstance(entry, np.ndarray)}  # others are bytes
    except UserError:
        raise
    except RejectedFileError as error:
        raise UserError(f"'{path}' {error}; run `nha track` again") from None
    except Exception as error:  # a damaged archive can cause nearly any of them
        reason = shortened(str(error).split("\n")[0]) or type(error).__name__
        raise UserError(
            f"'{path}' is not an npz archive of plain arrays ({reason}); run `nha track` again"
        ) from None


def _require_archive(file: BinaryIO, path: Path) -> None:
    try:
        check_start(file)
    except RejectedFileError as error:
        raise UserError(f"'{path}' {error}") from None
    if file.read(2) not in (b"PK", b"\x93N"):
        raise ValueError("it holds no arrays")  # numpy takes it for a pickle
    file.seek(0)


def as_float(array: np.ndarray) -> np.ndarray:
    """The numbers of an array as float32. Raises TypeError for an array of text."""
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{array.dtype} in place of numbers")
    with np.errstate(over="ignore"):  # infinity is reported by `_check`
        return np.ascontiguousarray(array, np.float32)


def as_whole(array: np.ndarray) -> np.ndarray:
    """The numbers of an array as int64, flat. Raises ValueError for others than whole ones below 10**9."""
    flat = array.reshape(-1)
    if flat.dtype.kind not in "biuf" or not (np.isfinite(flat) & (abs(flat.astype(float)) < 1e9)).all():
        raise ValueError("whole numbers expected")
    return flat.astype(np.int64)
