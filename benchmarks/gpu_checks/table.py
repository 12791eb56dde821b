"""The rows of `gpu_check.py`: aim, figure, and whether the aim is reached."""

from __future__ import annotations

import contextlib
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass

HEADER = f"{'':<56} {'aim':>10} {'figure':>12} {'unit':<14} result"


@dataclass(frozen=True)
class Row:
    """One checked quantity.

    Attributes:
        name: what is checked.
        aim: the largest value that passes, or the smallest with `at_least`.
        figure: the measured value; None where it was not measured.
        unit: of aim and figure.
        at_least: whether larger values are better.
        note: why there is no figure, or why the aim does not apply to it; empty otherwise.
        failed: whether the part failed.
    """

    name: str
    aim: float
    figure: float | None
    unit: str
    at_least: bool = False
    note: str = ""
    failed: bool = False

    @property
    def passed(self) -> bool | None:
        """Whether the aim is reached; None for a row that was skipped, False for one whose part failed."""
        if self.failed:
            return False
        if self.figure is None or self.note:
            return None
        return self.figure >= self.aim if self.at_least else self.figure <= self.aim

    def __str__(self) -> str:
        result = {True: "pass", False: "FAIL", None: "skipped"}[self.passed]
        figure = "" if self.figure is None else f"{self.figure:.4g}"
        note = f" ({self.note})" if self.note else ""
        bound = (">= " if self.at_least else "<= ") + f"{self.aim:g}"
        return f"{self.name:<56} {bound:>10} {figure:>12} {self.unit:<14} {result}{note}"

    def as_json(self) -> dict:
        """The row with the keys name, aim, figure, unit, pass and note."""
        return {
            "name": self.name,
            "aim": self.aim,
            "figure": self.figure,
            "unit": self.unit,
            "pass": self.passed,
            "note": self.note,
        }


@dataclass(frozen=True)
class Aim:
    """A row before it is measured; fields as in `Row`."""

    name: str
    aim: float
    unit: str
    at_least: bool = False

    def row(self, figure: float | None, note: str = "", failed: bool = False) -> Row:
        """The row with its figure."""
        return Row(self.name, self.aim, figure, self.unit, self.at_least, note, failed)


@dataclass(frozen=True)
class Part:
    """Rows that are measured together.

    Attributes:
        name: for `--only`.
        aims: the rows.
        measure: returns the figures by the names of the rows; None skips the part.
        without_aim: the reason for which the part is skipped, or its aims do not apply; empty otherwise.
        budget_s: seconds after which the part is stopped, and that must be left for it to begin.
    """

    name: str
    aims: list[Aim]
    measure: Callable[[], dict[str, float]] | None
    without_aim: str = ""
    budget_s: float = 60.0


class Table:
    """The rows of all parts, printed as they come.

    Args:
        limit_s: seconds for all parts together; parts for which too little is left are skipped.
    """

    def __init__(self, limit_s: float = float("inf")) -> None:
        self.rows: list[Row] = []
        self.seconds: dict[str, float] = {}
        self._end = time.monotonic() + limit_s

    def run(self, part: Part) -> None:
        """Measure a part. An exception fails its rows and is printed; it does not stop the other parts."""
        figures: dict[str, float] = {}
        note, failed = part.without_aim, False
        start = time.monotonic()
        if part.measure is not None and start + part.budget_s > self._end:
            note = f"fewer than {part.budget_s:g} s were left"
        elif part.measure is not None:
            try:
                with _at_most(part.budget_s):
                    figures = part.measure()
            except Exception as error:  # every part is to be tried
                traceback.print_exc()
                note, failed = f"{type(error).__name__}: {error}".splitlines()[0], True
        self.seconds[part.name] = time.monotonic() - start
        for aim in part.aims:
            row = aim.row(figures.get(aim.name), note, failed)
            self.rows.append(row)
            print(row, flush=True)

    @property
    def failed(self) -> list[str]:
        """Names of the rows that failed."""
        return [row.name for row in self.rows if row.passed is False]


@contextlib.contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Stop the block after some seconds with a TimeoutError."""

    def stop(*_) -> None:
        raise TimeoutError(f"took longer than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
