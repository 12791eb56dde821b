"""Folders in which configurations and asset files are looked for."""

from __future__ import annotations

import os
from pathlib import Path

from nha.core.errors import UserError

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


def path_of_user(text: str | Path) -> Path:
    """The path that a user has written; `~` is a home folder. Raises UserError for that of an unknown user."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise UserError(f"'{text}': the home folder is not known; write the whole path") from None


def is_unicode(path: str | Path) -> bool:
    """Whether a path is text; names of files may hold any bytes, which some libraries do not take."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def config_file(name: str | Path) -> Path:
    """The INI file of a name.

    Args:
        name: the path of a file, or one of the package's configurations, such as `demo` or `configs/demo.ini`.

    Raises:
        UserError: where there is no such file.
    """
    path = path_of_user(name)
    if path.is_file():
        return path
    of_package = CONFIGS / f"{path.stem}.ini"
    if of_package.is_file() and path in (Path(of_package.stem), Path("configs") / of_package.name):
        return of_package
    known = ", ".join(sorted(file.stem for file in CONFIGS.glob("*.ini")))
    raise UserError(f"configuration file '{name}' does not exist; name an INI file, or one of {known}")


def packaged_path(text: str) -> str:
    """The path of a value in an INI file: `configs/NAME` is the package's file where the working directory has none.

    The published configurations name their files this way, which are meant to be started from the checkout.
    """
    path = Path(text)
    of_package = CONFIGS / path.name
    is_named = path == Path("configs") / path.name and of_package.is_file()
    return str(of_package) if is_named and not path.exists() else text


def _is_checkout() -> bool:
    return (REPOSITORY / "pyproject.toml").is_file()
