"""Logging, exit codes of programs, locks and atomic files. Imports neither torch nor numpy."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import secrets
import shutil
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn, TextIO

try:
    import fcntl
except ImportError:  # not on every system
    fcntl = None

from nha.core.errors import UserError
from nha.core.refusal import system_refusal
from nha.core.signals import StoppedError, stop_signals
from nha.core.text import printable

EXIT_USER_ERROR = 2
# The names of files and folders that are being written: stem, process and random digits.
PARTIAL_NAME = re.compile(r"\.(.+)\.(?P<process>\d+)\.[0-9a-f]{4,8}\.part(\.\w+)?")


def run_script(main: Callable[[], None]) -> NoReturn:
    """Run a program's main function and exit with its code.

    0 on success; 2 and one line for a `UserError` and for what the file system refuses (a full disk, a folder that
    cannot be read); 130 and 143 and one line after SIGINT and SIGTERM. Any other exception is a bug of this project
    and keeps its traceback.
    """
    setup_logging()
    try:
        with safe_stdout(), stop_signals():
            main()
    except UserError as error:
        _release_frames(error)
        _exit_with(f"error: {error}", EXIT_USER_ERROR)
    except StoppedError as stop:
        _release_frames(stop)
        _exit_with(str(stop), stop.exit_code)
    except KeyboardInterrupt:
        _exit_with("interrupted", 130)
    except BrokenPipeError:  # the reader of the output (head, less) has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except Exception as error:
        if (refusal := system_refusal(error)) is None:
            raise
        _release_frames(error)
        _exit_with(f"error: {refusal}", EXIT_USER_ERROR)
    sys.exit(0)


class _SafeOutput:
    """A text stream on which texts from files cannot control the terminal; everything else is that of `stream`."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write(printable(text, keep="\n\r\t"))

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def safe_stdout() -> Iterator[None]:
    """Pass all that is printed through `text.printable` while the block runs; line breaks are kept."""
    before = sys.stdout
    sys.stdout = _SafeOutput(before)
    try:
        yield
    finally:
        sys.stdout = before


def _release_frames(error: BaseException | None) -> None:
    """Clear the local variables of an error's frames: progress lines in them end before the error is printed."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def _exit_with(message: str, code: int) -> NoReturn:
    with contextlib.suppress(OSError):  # the terminal is gone
        print(printable(message), file=sys.stderr)
    sys.exit(code)


class _StdoutHandler(logging.StreamHandler):
    """Writes to what sys.stdout is at the time, as `print` does."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    def format(self, record: logging.LogRecord) -> str:
        """The message; texts in it that come from elsewhere cannot control the terminal or begin another line."""
        if isinstance(record.args, tuple):
            record = logging.makeLogRecord({**vars(record), "args": tuple(map(_safe_argument, record.args))})
            if not record.args:
                record.msg = printable(str(record.msg))
        return super().format(record)

    @property
    def stream(self) -> TextIO:
        return sys.stdout


def _safe_argument(value: Any) -> Any:
    return printable(str(value)) if isinstance(value, (str, os.PathLike, BaseException)) else value


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
    # The suffix is kept because libraries choose a format by it; a name has at most 255 bytes, so the stem is cut.
    stem = os.fsdecode(os.fsencode(path.stem)[:180])
    return path.with_name(f".{stem}.{os.getpid()}.{secrets.token_hex(4)}.part{path.suffix}")


_observers: list[Callable[[Path, Path], None]] = []


@contextlib.contextmanager
def observe_writes(observer: Callable[[Path, Path], None]) -> Iterator[None]:
    """Call `observer(path, temporary)` before `atomic_path` gives a finished file its name, while the block runs."""
    _observers.append(observer)
    try:
        yield
    finally:
        _observers.remove(observer)


@contextlib.contextmanager
def atomic_path(path: str | Path, *, durable: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it replaces `path`, else it is removed.

    durable: wait until the file is on the disk before it replaces the earlier one, so that a loss of power leaves one
    of both. Takes some milliseconds, for states that a run continues from.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path)
    try:
        yield temporary
        if durable:
            _flush_to_disk(temporary)
        for observer in tuple(_observers):
            observer(path, temporary)
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):  # the folder may be gone, which is an error already
            temporary.unlink(missing_ok=True)


def replace_file(source: Path, target: Path) -> None:
    """Rename a finished file; `observe_writes` learns of it, as of a file that is written."""
    for observer in tuple(_observers):
        observer(target, source)
    os.replace(source, target)


def _flush_to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def atomic_directory(path: str | Path, replace: Callable[[Path, Path], None] | None = None) -> Iterator[Path]:
    """Yield an empty folder beside `path`; on success it replaces `path`, else it is removed.

    replace: called with both folders; by default an existing folder is removed with all that it holds, which is right
    for folders that no user writes to.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path)
    temporary.mkdir()
    try:
        yield temporary
        (replace or _replace_directory)(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _replace_directory(temporary: Path, path: Path) -> None:
    if path.exists():
        old = _beside(path)
        os.replace(path, old)
        os.replace(temporary, path)
        shutil.rmtree(old)
    else:
        os.replace(temporary, path)
