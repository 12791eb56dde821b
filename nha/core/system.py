"""Logging, exit codes of programs, locks and atomic files. Imports neither torch nor numpy."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn, TextIO

try:
    import fcntl
except ImportError:  # not on every system
    fcntl = None

from nha.core.errors import UserError

EXIT_USER_ERROR = 2
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})  # disk full, quota, largest file


def run_script(main: Callable[[], None]) -> NoReturn:
    """Run a program's main function and exit with code 0, or with 2 and one line for a `UserError`.

    Any other exception is a bug of this project and keeps its traceback.
    """
    setup_logging()
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # the reader of the output (head, less) has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    sys.exit(0)


class _StdoutHandler(logging.StreamHandler):
    """Writes to what sys.stdout is at the time, as `print` does."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        return sys.stdout


def get_logger(name: str) -> logging.Logger:
    """A logger of this package. Nothing is configured: that is the program's part, see `setup_logging`."""
    return logging.getLogger(name if name.startswith("nha") else f"nha.{name}")


def setup_logging() -> None:
    """Print the package's messages as plain lines on standard output. For programs; importing never does it."""
    root = logging.getLogger("nha")
    if not any(isinstance(handler, _StdoutHandler) for handler in root.handlers):
        handler = _StdoutHandler()
        handler.setFormatter(logging.Formatter("%(message)s"))
        root.addHandler(handler)
        root.setLevel(logging.INFO)
        root.propagate = False


def require_writable(folder: str | Path) -> Path:
    """Create `folder` where it does not exist and return it. Raises UserError where it cannot be written."""
    folder = Path(folder)
    probe = folder / f".write_test_{secrets.token_hex(4)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(
            f"cannot write to '{folder}' ({error.strerror or error}); choose another output folder"
        ) from None
    return folder


@contextlib.contextmanager
def exclusive_use(folder: str | Path) -> Iterator[None]:
    """Lock a folder for this process while the block runs. Raises UserError where another process holds the lock.

    The folder itself is locked: no file is left in it, and the lock ends with the process. Does nothing but warn on
    file systems without locks.
    """
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"another run is at work in '{folder}'; wait until it ends, or choose another output folder"
            ) from None
        except OSError:
            get_logger(__name__).warning("'%s' cannot be locked: do not start a second run in it", folder)
        yield
    finally:
        os.close(handle)


def _beside(path: Path) -> Path:
    # The suffix is kept because libraries choose a format by it.
    return path.with_name(f".{path.stem}.{os.getpid()}.{secrets.token_hex(4)}.part{path.suffix}")


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it replaces `path`, else it is removed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_directory(path: str | Path) -> Iterator[Path]:
    """Yield an empty folder beside `path`; on success it replaces `path`, else it is removed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path)
    temporary.mkdir()
    try:
        yield temporary
        if path.exists():
            old = _beside(path)
            os.replace(path, old)
            os.replace(temporary, path)
            shutil.rmtree(old)
        else:
            os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
