"""Fixtures that every test may use, and the thread limits: tests run beside each other, one thread each."""

from __future__ import annotations

import os

for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")  # read once, when the libraries load: before every other import

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout's top folder."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """`../shared` beside the checkout: specification, reference numbers, test video; not in the project."""
    shared = REPOSITORY.parent / "shared"
    if not shared.is_dir():
        pytest.skip(f"reference material is not beside the checkout ({shared} does not exist)")
    return shared


@pytest.fixture(scope="session")
def golden_dir(shared_dir: Path) -> Path:
    """The reference numbers: folders a, c, tracker_a and networks."""
    golden = shared_dir / "golden"
    if not golden.is_dir():
        pytest.skip(f"reference numbers are not there ({golden} does not exist)")
    return golden


@pytest.fixture
def spaced_dir(tmp_path: Path) -> Path:
    """An empty folder whose name holds a space and quotes, for everything that takes paths."""
    folder = tmp_path / 'it\'s a "quoted" folder'
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def run_script() -> Callable[..., subprocess.CompletedProcess]:
    """run_script("optimize_nha.py", "--help") runs a script of `python_scripts` and captures its output.

    A name with a slash is taken from the checkout's top folder. The result has returncode, stdout and
    stderr (text).
    """

    def run(script: str, *arguments: str | Path, timeout_s: float = 300.0) -> subprocess.CompletedProcess:
        path = REPOSITORY / (script if "/" in script else f"python_scripts/{script}")
        command: Sequence[str] = [sys.executable, str(path), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, cwd=REPOSITORY)

    return run
