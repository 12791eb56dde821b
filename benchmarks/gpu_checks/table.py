"""The rows of `gpu_check.py`: aim, figure, and whether the aim is reached."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass

HEADER = f"{'':<44} {'aim':>10} {'figure':>12} {'unit':<14} result"


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
        return f"{self.name:<44} {bound:>10} {figure:>12} {self.unit:<14} {result}{note}"

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


class Table:
    """The rows of all parts, printed as they come."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def run(
        self, aims: list[Aim], measure: Callable[[], dict[str, float]] | None, without_aim: str = ""
    ) -> None:
        """Measure a part. An exception fails its rows and is printed; it does not stop the other parts.

        Args:
            aims: the part's rows.
            measure: returns the figures by the names of the rows; None skips the part.
            without_aim: the reason for which the part is skipped, or its aims do not apply; empty otherwise.
        """
        figures: dict[str, float] = {}
        note, failed = without_aim, False
        try:
            figures = measure() if measure is not None else {}
        except Exception as error:  # every part is to be tried
            traceback.print_exc()
            note, failed = f"{type(error).__name__}: {error}".splitlines()[0], True
        for aim in aims:
            row = aim.row(figures.get(aim.name), note, failed)
            self.rows.append(row)
            print(row, flush=True)

    @property
    def failed(self) -> list[str]:
        """Names of the rows that failed."""
        return [row.name for row in self.rows if row.passed is False]
