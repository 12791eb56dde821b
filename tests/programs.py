"""Runs a program of the project in this process: a new process takes seconds to import the libraries."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import runpy
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from unittest import mock

import numba
import torch

# What Python ignores in a program, see the documentation of `warnings`.
_IGNORED = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)


def run_file(path: Path, arguments: Sequence[str], folder: Path) -> subprocess.CompletedProcess:
    """Run a script as `python path arguments...` does, with `folder` as the working directory."""
    return _run(lambda: runpy.run_path(str(path), run_name="__main__"), [str(path), *arguments], folder)


def run_package(name: str, arguments: Sequence[str], folder: Path) -> subprocess.CompletedProcess:
    """Run a package as `python -m name arguments...` does, with `folder` as the working directory."""
    return _run(lambda: runpy.run_module(name, run_name="__main__"), [name, *arguments], folder)


def _run(start: Callable[[], object], command: list[str], folder: Path) -> subprocess.CompletedProcess:
    """Exit code, standard output and error stream of a program; what it sets in this process is set back."""
    out, errors = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    before, threads = Path.cwd(), (torch.get_num_threads(), numba.get_num_threads())
    logger = logging.getLogger("nha")
    os.chdir(folder)
    try:
        with (
            mock.patch.object(sys, "argv", command),
            mock.patch.dict(os.environ),
            mock.patch.multiple(logger, handlers=[], propagate=logger.propagate, level=logger.level),
            _warnings_of_programs(),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(errors),
        ):
            code = _exit_code(start)
    finally:
        os.chdir(before)
        torch.set_num_threads(threads[0])
        numba.set_num_threads(threads[1])
    texts = (stream.buffer.getvalue().decode() for stream in (out, errors))
    return subprocess.CompletedProcess(command, code, *texts)


def _exit_code(start: Callable[[], object]) -> int:
    try:
        start()
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
            return 1
        return end.code or 0
    except Exception:
        traceback.print_exc()
        return 1
    return 0


@contextlib.contextmanager
def _warnings_of_programs() -> Iterator[None]:
    """Print warnings as programs do; in tests they are errors."""
    with warnings.catch_warnings():
        warnings.resetwarnings()
        for category in _IGNORED:
            warnings.simplefilter("ignore", category)
        yield
