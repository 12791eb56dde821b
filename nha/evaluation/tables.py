"""Tables as text and as HTML."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """header: names of the columns; rows: cells, numbers or text; None is shown as a dash."""

    header: Sequence[str]
    rows: Sequence[Sequence[object]]
    digits: int = 3

    def cells(self) -> list[list[str]]:
        """All rows as text, header first."""
        return [list(self.header), *([self._show(value) for value in row] for row in self.rows)]

    def as_text(self) -> str:
        """Aligned columns, the first to the left, the others to the right."""
        cells = self.cells()
        widths = [max(len(row[column]) for row in cells) for column in range(len(self.header))]
        lines = [
            "  ".join(
                cell.ljust(width) if column == 0 else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in cells
        ]
        return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])

    def as_html(self) -> str:
        """A <table> element."""
        head, *body = self.cells()
        rows = [_html_row(head, "th"), *(_html_row(row, "td") for row in body)]
        return "<table>\n" + "\n".join(rows) + "\n</table>"

    def _show(self, value: object) -> str:
        if value is None:
            return "-"
        return f"{value:.{self.digits}f}" if isinstance(value, float) else str(value)


def _html_row(cells: Sequence[str], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"
