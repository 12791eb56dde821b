"""Output folders and files: a program replaces and removes only what it has written itself.

`own_folder` is the one place that decides it. A folder with other contents is refused and left as it is. In a folder
of this program, a file that another program has written or changed is kept under another name before its place is
taken. `own_files` is the same for files that the user names one by one, beside which anything may lie.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from nha.core.errors import UserError
from nha.core.manifest import MANIFEST_FILE, Manifest, unused_name
from nha.core.system import PARTIAL_NAME, exclusive_use, get_logger, observe_writes, require_writable

# Written by file managers into every folder that they show.
_NOT_LOOKED_AT = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
_STALE_AFTER_S = 24 * 3600  # a partial file of this age is of no running process, whatever its number

_logger = get_logger(__name__)
OfEarlierVersion = Callable[[Path], Iterable[str]]


def require_own(folder: str | Path, of_earlier_version: OfEarlierVersion | None = None) -> Path:
    """Create an output folder where it does not exist and return it.

    Args:
        folder: the folder.
        of_earlier_version: the names of the files in a folder that a version without manifests has written; empty for
            a folder from elsewhere.

    Raises:
        UserError: the folder holds files from elsewhere, or cannot be written. It is not changed then.
    """
    folder = Path(folder)
    if folder.is_dir() and not (folder / MANIFEST_FILE).is_file():
        known = of_earlier_version is not None and any(of_earlier_version(folder))
        foreign = [] if known else sorted(path.name for path in folder.iterdir() if not _is_ignored(path))
        if foreign:
            names = ", ".join(foreign[:3]) + (f" and {len(foreign) - 3} more" if len(foreign) > 3 else "")
            raise UserError(
                f"'{folder}' already holds files from elsewhere ({names}); choose another output folder, or, if an "
                "earlier version of this program has written them, move them away first"
            )
    return require_writable(folder)


@contextlib.contextmanager
def own_folder(
    folder: str | Path,
    *,
    of_earlier_version: OfEarlierVersion | None = None,
    logs: str | None = None,
) -> Iterator[Manifest]:
    """Lock an output folder, and record what is written below it, while the block runs.

    What a killed run has left half written is removed first.

    Args:
        folder: the folder, which is created.
        of_earlier_version: see `require_own`; these files are recorded.
        logs: a folder in it whose files are written by a library; new ones are recorded at the end.

    Yields:
        The folder's manifest.

    Raises:
        UserError: as `require_own`, or another process is at work in the folder.
    """
    folder = require_own(folder, of_earlier_version)
    with exclusive_use(folder):
        manifest = Manifest(folder)
        if of_earlier_version is not None and not manifest.path.exists():
            for name in of_earlier_version(folder):
                manifest.add(folder / name)
        manifest.path.touch()
        remove_partial_files(folder)
        before = set(_files_below(folder, logs))
        try:
            with observe_writes(lambda path, _: keep_foreign(manifest, path)), manifest.recording():
                yield manifest
            manifest.require_same_folder()
        finally:
            for path in _files_below(folder, logs):
                if path not in before:
                    with contextlib.suppress(OSError):
                        manifest.add(path)
            manifest.tidy()


def require_own_file(path: str | Path) -> Path:
    """Return the path of an output file. Raises UserError where a file from elsewhere has this name."""
    path = Path(path)
    if os.path.lexists(path) and not Manifest(path.parent).owns(path):
        raise UserError(
            f"'{path}' exists and was not written by this program, or was changed since; choose another name, or move "
            "it away"
        )
    return path


@contextlib.contextmanager
def own_files(*paths: str | Path) -> Iterator[None]:
    """Record files that are written while the block runs. Raises UserError where files from elsewhere have their names.

    Their folder's other files are not looked at.
    """
    with contextlib.ExitStack() as recording:
        for parent in dict.fromkeys(require_own_file(path).parent for path in paths):
            recording.enter_context(Manifest(require_writable(parent)).recording())
        yield


def keep_foreign(manifest: Manifest, path: Path) -> None:
    """Rename what lies in the place of an output file unless it is as this program wrote it, and say so."""
    if not manifest.covers(path):
        return
    manifest.require_same_folder()
    if os.path.lexists(path) and not manifest.owns(path):
        kept = unused_name(path)
        os.replace(path, kept)
        _logger.warning("%s is not as this program wrote it; it is kept as %s", path.name, kept.name)


def remove_own_output(folder: Path) -> None:
    """Remove the files of an output folder that are as this program wrote them; what else lies in it stays."""
    if not folder.is_dir():
        return
    with exclusive_use(folder):
        manifest = Manifest(folder)
        manifest.remove_own()
        remove_partial_files(folder)
        if all(path == manifest.path for path in folder.iterdir()):
            manifest.path.unlink(missing_ok=True)
            folder.rmdir()


def remove_partial_files(folder: Path) -> None:
    """Remove what killed runs have left half written in a folder and in its subfolders.

    `atomic_path` and `atomic_directory` give such files names that hold the number of their process; those of another
    running process are left.
    """
    for pattern in (".*.part*", "*/.*.part*"):
        for path in folder.glob(pattern):
            match = PARTIAL_NAME.fullmatch(path.name)
            if match is None or path.is_symlink() or _is_at_work(int(match["process"]), path):
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _is_ignored(path: Path) -> bool:
    return path.name in _NOT_LOOKED_AT or PARTIAL_NAME.fullmatch(path.name) is not None


def _is_at_work(process: int, path: Path) -> bool:
    if process == os.getpid():
        return False  # of an earlier process with this number: this one holds the lock and has written nothing yet
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass  # it runs for another user
    return time.time() - path.stat().st_mtime < _STALE_AFTER_S


def _files_below(folder: Path, name: str | None) -> list[Path]:
    return [] if name is None else [path for path in (folder / name).rglob("*") if path.is_file()]
