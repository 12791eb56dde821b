"""Find a head model by name or folder and load it."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from nha.core.errors import UserError
from nha.core.paths import asset_folders, find_asset, new_asset_folder
from nha.core.system import get_logger
from nha.head.assets import HeadAssets
from nha.head.description import read_description
from nha.head.file_guide import derived_summary
from nha.head.flame_files import missing_files, model_file, read_head_folder
from nha.head.model_files import unused_models
from nha.head.procedural import GENERATOR_VERSION, write_head_folder

FLAME = "flame"
PROCEDURAL = "procedural"


def load_head(head: str | Path = "auto") -> HeadAssets:
    """Load a head model and log which one it is.

    Args:
        head: `auto`, `flame`, `procedural`, a folder of head model files, or a model file (.pkl, .npz) in one.
            See `resolve_head_folder`.

    Returns:
        The content of the files.

    Raises:
        UserError: the path does not exist, or a file is missing, damaged or inconsistent with the others.
    """
    assets = read_head_folder(resolve_head_folder(head))
    derived = (
        f"; derived, not from FLAME's files: {derived_summary(assets.derived)}" if assets.derived else ""
    )
    get_logger(__name__).info(
        "head model: %s (%d vertices) from %s%s",
        assets.name,
        len(assets.template_vertices),
        assets.folder,
        derived,
    )
    return assets


def resolve_head_folder(head: str | Path = "auto") -> Path:
    """The folder or model file that the option `--head auto|flame|procedural|PATH` selects.

    `auto` selects FLAME if its model file is in `flame` in one of the asset folders (`nha.core.paths`), otherwise
    the procedural head. The procedural head is generated when it is first used.

    Raises:
        UserError: `head` is neither one of the names nor an existing path.
    """
    head = str(head)
    if head == "auto":
        head = FLAME if model_file(folder := _flame_folder()) else PROCEDURAL
        if head == PROCEDURAL and (other := unused_models(folder)):
            get_logger(__name__).warning(
                "head model: the procedural one, because no model file of a known name is in %s; %s",
                folder,
                other,
            )
    if head == FLAME:
        return _flame_folder()
    if head == PROCEDURAL:
        return _procedural_folder()
    path = Path(head)
    if not path.exists():
        raise UserError(
            f"head model '{head}' is neither auto, flame, procedural nor an existing folder or .pkl file"
        )
    return path


def _flame_folder() -> Path:
    candidates = (folder / FLAME for folder in asset_folders())
    return next((folder for folder in candidates if model_file(folder)), find_asset(FLAME))


def _procedural_folder() -> Path:
    """The first folder with a complete procedural head of this version; it is generated where there is none."""
    for parent in asset_folders():
        if _is_current(parent / PROCEDURAL):
            return parent / PROCEDURAL
    folder = new_asset_folder() / PROCEDURAL
    get_logger(__name__).info("head model: generating the procedural head in %s", folder)
    _write_once(folder, write_head_folder)
    return folder


def _is_current(folder: Path) -> bool:
    if missing_files(folder):
        return False
    description = read_description(folder) or {}
    return description.get("generator_version") == GENERATOR_VERSION


def _write_once(folder: Path, write: Callable[[Path], object]) -> None:
    """Write a folder under a temporary name and rename it; keep the folder of a process that finished first."""
    temporary, stale = (folder.with_name(f".{folder.name}.{os.getpid()}.{what}") for what in ("new", "old"))
    write(temporary)
    with contextlib.suppress(FileNotFoundError):
        folder.rename(stale)
    try:
        temporary.rename(folder)
    except OSError:  # the folder exists and is not empty: another process has written it
        shutil.rmtree(temporary)
    shutil.rmtree(stale, ignore_errors=True)
