"""The files of another program's tracking as arrays: one archive, or one file for each frame."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nha.core.errors import UserError
from nha.core.json_file import read_json
from nha.core.plain_file import open_plain
from nha.core.safe_pickle import load_npy
from nha.core.text import shortened
from nha.core.torch_file import load_torch
from nha.core.untrusted_file import RejectedFileError, check_start, check_zip
from nha.data.foreign_tracking import (
    FLAME_HEAD_TRACKER,
    GAUSSIAN_AVATARS,
    IMPORT,
    METRICAL,
    PROGRAMS,
    foreign_program,
)

Entries = dict[str, Any]
_NUMBER = re.compile(r"(\d+)$")


def read_entries(path: Path) -> Entries:
    """The entries of one file: .npz, .npy with a dictionary, .frame, .json.

    Nothing in the file is executed.

    Raises:
        UserError: the file is missing, damaged or of another kind.
    """
    if not path.is_file():
        raise UserError(f"'{path}' does not exist; name a tracking file of another program, or its folder")
    if path.suffix == ".frame":
        content = load_torch(path)
    elif path.suffix == ".npy":
        content = load_npy(path)
    elif path.suffix == ".json":
        content = _read_json(path)
    else:
        content = _read_npz(path)
    if not isinstance(content, Mapping):
        raise UserError(f"'{path}' holds no named entries, so it is not a tracking file that is known here")
    return dict(content)


def numbered_files(folder: Path, suffix: str) -> list[Path]:
    """The files of a folder whose stem ends in a number, in the order of that number."""
    found = [path for path in folder.glob(f"*{suffix}") if _NUMBER.search(path.stem)]
    return sorted(found, key=lambda path: number_of(path.stem))


def number_of(name: str) -> int:
    """The number at the end of a name such as frame_0012."""
    match = _NUMBER.search(name)
    return int(match[1]) if match else -1


def find_files(path: Path) -> tuple[str, list[Path]]:
    """The program that wrote a file or folder, and its files in the order of the frames.

    Raises:
        UserError: the program is not supported (the message names it), or nothing is recognised.
    """
    if path.is_dir():
        return _of_folder(path)
    if path.name.startswith("transforms") and path.suffix == ".json":
        return GAUSSIAN_AVATARS, [path]
    if path.suffix == ".frame":
        return METRICAL, numbered_files(path.parent, ".frame") or [path]
    entries = read_entries(path)
    program = foreign_program(entries)
    if program is None:
        raise UserError(unrecognised(path, entries))
    if not program.importable:
        raise UserError(f"'{path}' is of {program.name}: {program.remedy}")
    if program.name == FLAME_HEAD_TRACKER:
        return program.name, numbered_files(path.parent, path.suffix) or [path]
    transforms = path.parent.parent / "transforms.json"
    if path.parent.name == "flame_param" and transforms.is_file():
        return GAUSSIAN_AVATARS, [transforms]
    return program.name, [path]


def unrecognised(path: Path, names: Mapping[str, Any]) -> str:
    """The message for a file that no known program writes."""
    if {"K", "expr", "rotation"} <= set(names):
        return f"'{path}' has the published layout already: use it directly as --tracking"
    known = ", ".join(dict.fromkeys(one.name for one in PROGRAMS if one.importable))
    found = ", ".join(list(names)[:8])
    return f"'{path}' is no tracking file of a known program ({known}); its entries are {found}"


def _of_folder(folder: Path) -> tuple[str, list[Path]]:
    for base in (folder, folder / "checkpoint"):
        if frames := numbered_files(base, ".frame"):
            return METRICAL, frames
    for name in ("transforms.json", "transforms_train.json", "transforms_backup_flame.json"):
        if (folder / name).is_file():
            return GAUSSIAN_AVATARS, [folder / name]
    tracked = sorted(folder.glob("tracked_flame_params*.npz"), key=lambda path: number_of(path.stem))
    if tracked:
        return find_files(tracked[-1])  # VHAP numbers its epochs
    for suffix in (".npz", ".npy"):
        if files := numbered_files(folder, suffix):
            return find_files(files[0])
    others = sorted(folder.glob("*.npz"))
    if len(others) == 1:
        return find_files(others[0])
    raise UserError(
        f"'{folder}' holds no tracking file of a known program; name the file itself, or {IMPORT}"
    )


def _read_npz(path: Path) -> Entries:
    try:
        with open_plain(path) as file:
            check_start(file)
            check_zip(file)
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ValueError("a single array")
            entries = {}
            for name in archive.files:
                try:
                    entry = archive[name]
                except ValueError:  # an entry of objects, such as rendered images of another size
                    continue
                if isinstance(entry, np.ndarray):  # bytes of another kind of file
                    entries[name] = entry
            return entries
    except RejectedFileError as error:
        raise UserError(f"'{path}' {error}") from None
    except Exception as error:  # a damaged archive can cause nearly any of them
        reason = shortened(str(error).split("\n")[0]) or type(error).__name__
        raise UserError(
            f"'{path}' is not an archive of arrays ({reason}); export or download it again"
        ) from None


def _read_json(path: Path) -> Any:
    try:
        return read_json(path)
    except (OSError, ValueError) as error:
        raise UserError(f"'{path}' is not readable JSON ({error}); export it again") from None
