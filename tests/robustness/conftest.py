"""Counting of attempts, and the limits of time and memory that every attempt must keep."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nha.core.errors import UserError
from nha.core.text import printable

MOST_SECONDS, MOST_MEGABYTES = 2.0, 200.0


class Attempts:
    """Reads files that may be damaged or hostile, and counts them.

    An attempt holds if the file is read, or refused by a UserError whose printed form is one short line.
    """

    def __init__(self) -> None:
        self.count = 0
        self.slowest_s = 0.0

    def read(self, read: Callable[[Path], object], path: Path) -> str:
        """Read a file. Returns the error's text, "" if there was none; every other exception fails the test."""
        self.count += 1
        began = time.perf_counter()
        text = ""
        try:
            read(path)
        except UserError as error:
            text = printable(str(error))
        self.slowest_s = max(self.slowest_s, time.perf_counter() - began)
        assert "\n" not in text
        assert len(text) < 2000, text[:300]
        return text


@pytest.fixture
def attempts(record_property) -> Iterator[Attempts]:
    """An `Attempts`, whose number the summary of `make test-robustness` adds up."""
    counter = Attempts()
    yield counter
    record_property("attempts", counter.count)


@contextlib.contextmanager
def bounded_memory(most_megabytes: float = MOST_MEGABYTES) -> Iterator[None]:
    """Fail if this process needs more memory at its peak than before the block; only measured on Linux."""
    try:
        Path("/proc/self/clear_refs").write_text("5")  # sets the peak to the present value
        before = _peak_megabytes()
    except OSError:
        yield
        return
    yield
    needed = _peak_megabytes() - before
    assert needed < most_megabytes, f"{needed:.0f} MB"


def _peak_megabytes() -> float:
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))
