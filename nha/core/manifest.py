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

from nha.core.fingerprint import file_digest
from nha.core.system import atomic_path, observe_writes

MANIFEST_FILE = ".manifest.jsonl"


class Manifest:
    """The files that this program has written below a folder.

    Names are relative to the folder. A file is the program's own if it still has a recorded size and hash.
    """

    def __init__(self, root: Path) -> None:
        """Read the manifest of a folder; a line that a killed run has left unfinished is skipped."""
        self.root = root
        self.path = root / MANIFEST_FILE
        self._records: dict[str, set[tuple[int, str]]] = {}
        self._lock = threading.Lock()
        with contextlib.suppress(FileNotFoundError):
            for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
                self._read_line(line)

    def _read_line(self, line: str) -> None:
        try:
            record = json.loads(line)
            name, size, digest = str(record["name"]), int(record["bytes"]), str(record["sha256"])
        except (ValueError, KeyError, TypeError):
            return
        if not os.path.isabs(name) and ".." not in Path(name).parts:
            self._records.setdefault(name, set()).add((size, digest))

    def __bool__(self) -> bool:
        return bool(self._records)

    @property
    def names(self) -> list[str]:
        """Names of the recorded files, which need not exist any more."""
        return sorted(self._records)

    def is_recorded(self, path: Path) -> bool:
        """Whether a file of this name was written, whatever it holds now."""
        return self._name(path) in self._records

    def owns(self, path: Path) -> bool:
        """Whether an existing file is exactly as this program wrote it."""
        sizes = {size for size, _ in self._records.get(self._name(path), ())}
        if not sizes or path.is_symlink() or not path.is_file() or path.stat().st_size not in sizes:
            return False
        return (path.stat().st_size, file_digest(path)) in self._records[self._name(path)]

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Record every file that `atomic_path` writes below the folder while the block runs, in all threads."""
        with observe_writes(self._record):
            yield

    def add(self, path: Path) -> None:
        """Record a file that exists."""
        self._append(self._name(path), path.stat().st_size, file_digest(path))

    def move(self, source: Path, target: Path) -> None:
        """Rename an own file; the new name is recorded first."""
        for size, digest in self._records.get(self._name(source), ()):
            self._append(self._name(target), size, digest)
        target.parent.mkdir(exist_ok=True)
        os.replace(source, target)

    def remove_own(self, names: list[str] | None = None) -> None:
        """Remove own files (None: all) that are unchanged, and the folders that are empty then."""
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
        kept = {}
        for name in self.names:
            if self.owns(path := self.root / name):
                kept[name] = (path.stat().st_size, file_digest(path))
        text = "".join(_line(name, *record) for name, record in kept.items())
        with atomic_path(self.path) as temporary:
            temporary.write_text(text, encoding="utf-8")
        self._records = {name: {record} for name, record in kept.items()}

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _record(self, path: Path, written: Path) -> None:
        if path == self.path or self.root not in path.parents or not written.is_file():
            return
        self._append(self._name(path), written.stat().st_size, file_digest(written))

    def _append(self, name: str, size: int, digest: str) -> None:
        with self._lock, open(self.path, "a", encoding="utf-8") as file:
            file.write(_line(name, size, digest))
            self._records.setdefault(name, set()).add((size, digest))


def _line(name: str, size: int, digest: str) -> str:
    return json.dumps({"name": name, "bytes": size, "sha256": digest}) + "\n"
