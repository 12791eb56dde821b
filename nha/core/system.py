"""Device choice, seeds, logging, atomic files and the frame around every script."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import random
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch

try:
    import fcntl
except ImportError:  # not on every system
    fcntl = None

from nha.core.errors import UserError

EXIT_USER_ERROR = 2
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})  # disk full, quota, largest file


def run_script(main: Callable[[], None]) -> NoReturn:
    """Run a script's main function and leave with exit code 0, or 2 and one line for a `UserError`.

    Anything else is our own mistake and keeps its traceback.
    """
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # whoever read the output (head, less) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    sys.exit(0)


def pick_device(name: str = "auto") -> torch.device:
    """Turn "auto" or a torch device string into a device that exists on this machine.

    Raises UserError for an unknown name or an accelerator that is not there.
    """
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if name == "auto":
        return accelerator or torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"device '{name}' is unknown; use auto, cpu or cuda") from None
    if device.type != "cpu" and (accelerator is None or accelerator.type != device.type):
        raise UserError(f"device '{name}' is not available on this machine; use --device cpu or auto")
    return device


def seed_everything(seed: int) -> None:
    """Seed Python's, numpy's and torch's generators."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - libraries draw from the old generator
    torch.manual_seed(seed)


def get_logger(name: str) -> logging.Logger:
    """A logger that prints plain messages to standard output, configured once for the whole package."""
    root = logging.getLogger("nha")
    if not root.handlers:
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(logging.Formatter("%(message)s"))
        root.addHandler(handler)
        root.setLevel(logging.INFO)
        root.propagate = False
    return logging.getLogger(name if name.startswith("nha") else f"nha.{name}")


def require_writable(folder: str | Path) -> Path:
    """Create `folder` if need be and return it; raises UserError where that, or writing in it, fails."""
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
    """Keep a folder to this process for the block; raises UserError where another one holds it.

    The folder itself is locked, so nothing is left in it, and the lock ends with the process however that
    ends. File systems that know no locks give none.
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
                f"another run is at work in '{folder}'; wait for its end, or choose another output folder"
            ) from None
        except OSError:
            get_logger(__name__).warning("'%s' cannot be locked: start no second run in it", folder)
        yield
    finally:
        os.close(handle)


def _beside(path: Path) -> Path:
    # The suffix is kept, for libraries that choose a format by it.
    return path.with_name(f".{path.stem}.{os.getpid()}.{secrets.token_hex(4)}.part{path.suffix}")


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it takes the place of `path`, else it is removed."""
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
