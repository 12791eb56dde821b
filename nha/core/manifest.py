"""The manifest of an output folder: which files a program has written there, so that it never removes another one.

`.manifest.jsonl` holds one line for each file: name, size and SHA-256. A line is added before the file gets its name,
so no file of the program is without one, wherever it is killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from nha.core.errors import UserError
from nha.core.fingerprint import file_digest
from nha.core.plain_file import read_plain
from nha.core.system import PARTIAL_NAME, atomic_path, observe_writes

MANIFEST_FILE = ".manifest.jsonl"
_TIDY_FROM = 100  # lines beyond four for each file


class Manifest:
    """The files that this program has written below a folder.

    Names are relative to the folder. A file is the program's own if it still has a recorded size and hash.
    """

    def __init__(self, root: Path) -> None:
        """Read the manifest of a folder; a line that a killed run has left unfinished is skipped."""
        self.root = root
        self.path = root / MANIFEST_FILE
        self._records: dict[str, set[tuple[int, str]]] = {}
        self._digests: dict[tuple[int, int, int], str] = {}  # by inode, size and time of change
        self._n_lines = 0
        self._is_cut = False  # a killed run has left half a line at the end
        self._identity = _identity(root)
        self._lock = threading.RLock()  # a signal between taking and holding it must not block this thread
        if self.path.is_symlink():  # its target, which may be any file of the user, would be written to
            raise UserError(f"'{self.path}' is a link, which this program does not make; remove it")
        with contextlib.suppress(FileNotFoundError):
            text = read_plain(self.path).decode(errors="replace")
            self._is_cut = bool(text) and not text.endswith("\n")
            for line in text.splitlines():
                self._read_line(line)

    def _read_line(self, line: str) -> None:
        self._n_lines += 1
        try:
            record = json.loads(line)
            name, size, digest = str(record["name"]), int(record["bytes"]), str(record["sha256"])
        except (ValueError, KeyError, TypeError, RecursionError):
            return
        if not os.path.isabs(name) and ".." not in Path(name).parts:
            self._records.setdefault(name, set()).add((size, digest))

    def __bool__(self) -> bool:
        return bool(self._records)

    @property
    def names(self) -> list[str]:
        """Names of the recorded files, which need not exist any more."""
        return sorted(self._records)

    def covers(self, path: Path) -> bool:
        """Whether a file belongs into this manifest: not a partial file, and in no subfolder with its own manifest."""
        inner = self._inner(path)
        if inner is None or inner == Path(MANIFEST_FILE):
            return False
        if any(PARTIAL_NAME.fullmatch(part) for part in inner.parts):
            return False
        return not any((self.root / parent / MANIFEST_FILE).exists() for parent in inner.parents[:-1])

    def is_recorded(self, path: Path) -> bool:
        """Whether a file of this name was written, whatever it holds now."""
        return self._name(path) in self._records

    def owns(self, path: Path) -> bool:
        """Whether an existing file is exactly as this program wrote it."""
        sizes = {size for size, _ in self._records.get(self._name(path), ())}
        if not sizes or path.is_symlink() or not path.is_file() or path.stat().st_size not in sizes:
            return False
        return (path.stat().st_size, self._digest(path)) in self._records[self._name(path)]

    def require_same_folder(self) -> None:
        """Raise UserError where the path leads to another folder than at first: results would be scattered.

        In a folder that a link leads to now, files of somebody else would be replaced.
        """
        found = _identity(self.root)
        self._identity = self._identity or found
        if found != self._identity:
            raise UserError(
                f"'{self.root}' was moved, removed or replaced while this program was at work in it; what was finished "
                "is in the folder that was moved: move it back, and start again"
            )

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Record every file that `atomic_path` writes below the folder while the block runs, in all threads."""
        with observe_writes(self._record):
            yield

    def add(self, path: Path) -> None:
        """Record a file that exists."""
        self._append(self._name(path), path.stat().st_size, self._digest(path))

    def replace_folder(self, temporary: Path, path: Path) -> None:
        """Rename a finished folder to `path`; of one that exists only own files are removed.

        For `system.atomic_directory`. The rest of an earlier folder is kept with the ending `.unused`.
        """
        for file in temporary.rglob("*"):
            if file.is_file():
                name = self._name(path / file.relative_to(temporary))
                self._append(name, file.stat().st_size, self._digest(file))
        earlier = path.with_name(f".{path.name}.{os.getpid()}.earlier")
        if path.exists():
            os.replace(path, earlier)
        os.replace(temporary, path)
        if earlier.exists():
            self._remove_moved(earlier, path)

    def _remove_moved(self, folder: Path, path: Path) -> None:
        """Remove the own files of a folder that was at `path` when they were recorded; rename it if others remain."""
        for file in sorted(folder.rglob("*"), reverse=True):  # the files of a folder before the folder
            if file.is_dir() and not file.is_symlink():
                with contextlib.suppress(OSError):  # not empty
                    file.rmdir()
            elif file.is_file() and not file.is_symlink():
                records = self._records.get(self._name(path / file.relative_to(folder)), ())
                if (file.stat().st_size, self._digest(file)) in records:
                    file.unlink()
        try:
            folder.rmdir()
        except OSError:
            os.replace(folder, unused_name(path))

    def move(self, source: Path, target: Path) -> None:
        """Rename an own file; the new name is recorded first."""
        for size, digest in self._records.get(self._name(source), ()):
            self._append(self._name(target), size, digest)
        target.parent.mkdir(exist_ok=True)
        os.replace(source, target)

    def remove_own(self, names: list[str] | None = None) -> None:
        """Remove own files (None: all) that are unchanged, and the folders that are empty then."""
        self.require_same_folder()
        for name in self.names if names is None else names:
            path = self.root / name
            if self.owns(path):
                path.unlink()
            for folder in path.parents:
                if folder == self.root:
                    break
                with contextlib.suppress(OSError):  # another file is in it, or it is gone
                    folder.rmdir()

    def compact(self) -> None:
        """Write the manifest anew, sorted, with the files that exist."""
        self.require_same_folder()
        kept = {}
        for name in self.names:
            if self.owns(path := self.root / name):
                kept[name] = (path.stat().st_size, self._digest(path))
        text = "".join(_line(name, *record) for name, record in kept.items())
        with atomic_path(self.path) as temporary:
            temporary.write_text(text, encoding="utf-8")
        self._records = {name: {record} for name, record in kept.items()}
        self._n_lines = len(kept)

    def tidy(self) -> None:
        """`compact`, where the file holds many more lines than there are files."""
        if self._n_lines > 4 * len(self._records) + _TIDY_FROM:
            self.compact()

    def _name(self, path: Path) -> str:
        inner = self._inner(path)
        if inner is None:
            raise ValueError(f"'{path}' is not below '{self.root}'")
        return inner.as_posix()

    def _inner(self, path: Path) -> Path | None:
        """The path relative to the folder, None outside it; libraries may name a file by its path without links."""
        for inside, root in ((path, self.root), (path.parent.resolve() / path.name, self.root.resolve())):
            if root in inside.parents:
                return inside.relative_to(root)
        return None

    def _record(self, path: Path, written: Path) -> None:
        if self.covers(path) and written.is_file():
            self._append(self._name(path), written.stat().st_size, self._digest(written))

    def _digest(self, path: Path) -> str:
        """The file's SHA-256. A file that this process has read and that nobody has changed is not read again."""
        status = path.stat()
        key = (status.st_ino, status.st_size, status.st_mtime_ns)
        if key not in self._digests:
            self._digests[key] = file_digest(path)
        return self._digests[key]

    def _append(self, name: str, size: int, digest: str) -> None:
        self.require_same_folder()
        with self._lock:
            if (size, digest) in self._records.get(name, ()):
                return
            with open(self.path, "a", encoding="utf-8") as file:
                file.write("\n" * self._is_cut + _line(name, size, digest))
            self._is_cut = False
            self._records.setdefault(name, set()).add((size, digest))
            self._n_lines += 1


def _identity(folder: Path) -> tuple[int, int] | None:
    """Device and number of a folder, links followed; None where there is none."""
    try:
        status = os.stat(folder)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def unused_name(path: Path) -> Path:
    """A free name beside a file or folder for what lies in its place and is kept."""
    return next(
        name for i in range(10**6)
        if not os.path.lexists(name := path.with_name(f"{path.name}.unused{i or ''}"))
    )  # fmt: skip


def _line(name: str, size: int, digest: str) -> str:
    return json.dumps({"name": name, "bytes": size, "sha256": digest}, allow_nan=False) + "\n"
