"""Tables for the terminal and for HTML reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nha.core.text import printable


@dataclass(frozen=True)
class Table:
    """A table with a header.

    Attributes:
        header: names of the columns.
        rows: cells, numbers or text; None and NaN are shown as a dash.
        digits: decimals of floating-point numbers.
        notes: lines below the table.
        is_text: the cells are text, which reports align to the left.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[object]]
    digits: int = 3
    notes: Sequence[str] = ()
    is_text: bool = False

    def cells(self) -> list[list[str]]:
        """Return all rows as text, the header first; names from files in them begin no other line."""
        rows = [self.header, *self.rows]
        return [[printable(self._format(value)) for value in row] for row in rows]

    def as_text(self) -> str:
        """Return the table with aligned columns, the first to the left, the others to the right."""
        cells = self.cells()
        widths = [max(len(row[column]) for row in cells) for column in range(len(self.header))]
        lines = [
            "  ".join(
                cell.ljust(width) if column == 0 else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in cells
        ]
        return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:], *self.notes])

    def _format(self, value: object) -> str:
        if value is None or value != value:  # NaN is the only value that differs from itself
            return "-"
        return f"{value:.{self.digits}f}" if isinstance(value, float) else str(value)
