"""Folders in which configurations and asset files are looked for."""

from __future__ import annotations

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
"""The checkout's top folder. For an installed package this is site-packages, which has no `assets`."""

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
"""The package's configuration files; `configs` in the checkout links to them."""

PART_WEIGHTS = CONFIGS / "body_part_weights.json"

ASSETS_VARIABLE = "NHA_ASSETS"


def asset_folders() -> list[Path]:
    """The folders that may hold asset files, in the order in which they are searched.

    Returns:
        `$NHA_ASSETS` where it is set, `assets` in the working directory, and `assets` in the checkout unless the
        package is installed. A folder need not exist. The first one is not necessarily writable; see
        `new_asset_folder`.
    """
    named = os.environ.get(ASSETS_VARIABLE)
    folders = [Path(named)] if named else []
    folders.append(Path.cwd() / "assets")
    if _is_checkout():
        folders.append(REPOSITORY / "assets")
    return list(dict.fromkeys(folders))


def find_asset(name: str) -> Path:
    """The path of an asset file or folder.

    Args:
        name: path below an asset folder, such as `arcface/backbone.pth` or `flame`.

    Returns:
        The first existing path in `asset_folders`; the path in `new_asset_folder` where none exists.
    """
    candidates = (folder / name for folder in asset_folders())
    return next((path for path in candidates if path.exists()), new_asset_folder() / name)


def new_asset_folder() -> Path:
    """The folder in which missing asset files belong: `$NHA_ASSETS`, else the checkout's, else `./assets`."""
    named = os.environ.get(ASSETS_VARIABLE)
    if named:
        return Path(named)
    return (REPOSITORY if _is_checkout() else Path.cwd()) / "assets"


def find_config(name: str | Path) -> Path:
    """The configuration file that a path or a short name names.

    Args:
        name: the path of a file, or the name of one of the package's configurations, such as `demo`, `demo.ini` or
            `configs/demo.ini`.

    Returns:
        The path as given where there is such a file, else that of the package's configuration, else the path as given.
    """
    path = Path(name).expanduser()
    if path.is_file() or path.parent not in (Path(), Path("configs")):
        return path
    of_package = CONFIGS / Path(path.name if path.suffix else f"{path.name}.ini")
    return of_package if of_package.is_file() else path


def _is_checkout() -> bool:
    return (REPOSITORY / "pyproject.toml").is_file()
