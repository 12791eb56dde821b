"""Progress of long work: on a terminal one line with the time left, in a log a line every ten seconds.

for row in progress(rows, "tracking", unit="frames"):
    ...

with ProgressLine("training", total=900, unit="steps") as line:
    line.update(note="epoch 3")
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from typing import TextIO, TypeVar

from tqdm import tqdm

from nha.core.text import printable

Item = TypeVar("Item")

LOG_PERIOD_S = 10.0


class ProgressLine:
    """Shows how far a piece of work is, on the standard error stream."""

    def __init__(
        self,
        label: str,
        total: int | None = None,
        unit: str = "steps",
        *,
        shown: bool = True,
        stream: TextIO | None = None,
        period_s: float = LOG_PERIOD_S,
    ) -> None:
        """Begin.

        Args:
            label: what is being done, such as "tracking".
            total: number of parts; None where it is not known.
            unit: what is counted, in the plural; "" counts nothing and shows the time alone.
            shown: False shows nothing.
            stream: None is the standard error stream.
            period_s: seconds between two lines of a log.
        """
        self.label, self.total, self.unit = (
            printable(label),
            total,
            unit,
        )  # the name of a person's file is in it
        self.done, self.note = 0, ""
        self._stream = sys.stderr if stream is None else stream
        self._start = time.monotonic()
        self._closed = threading.Event()
        self._bar: tqdm | None = None
        self._writer: threading.Thread | None = None
        self._shown = shown
        if shown and self._stream.isatty():
            counted = {"unit": f" {unit}"} if unit else {"bar_format": "{desc}: {elapsed}"}
            self._bar = tqdm(total=total, desc=self.label, file=self._stream, dynamic_ncols=True, **counted)
        elif shown:  # a thread, because a single part may take longer than the period
            self._writer = threading.Thread(target=self._log, args=(period_s,), daemon=True)
            self._writer.start()

    def update(self, n: int = 1, note: str = "") -> None:
        """Count n more parts as done; `note` is shown behind the numbers until there is another one."""
        self.done += n
        if note:
            self.note = note = printable(note)
        if self._bar is not None:
            if note:
                self._bar.set_postfix_str(note, refresh=not n)
            self._bar.update(n)

    def close(self) -> None:
        """End; a log gets a last line with the seconds."""
        if self._closed.is_set():
            return
        self._closed.set()
        if self._bar is not None:
            self._bar.close()
        elif self._writer is not None:
            self._writer.join()
            self._write(f"{self._count()} in {duration(self._seconds)}")

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def _seconds(self) -> float:
        return time.monotonic() - self._start

    def _log(self, period_s: float) -> None:
        while not self._closed.wait(period_s):
            self._write(self.text())

    def text(self) -> str:
        """The line of a log: parts done, share, and the time left as far as it can be told."""
        if not self.done or self.total is None:
            progress = f"{self._count()}, {duration(self._seconds)} so far"
        else:
            left = self._seconds * max(self.total - self.done, 0) / self.done
            progress = (
                f"{self._count()} ({100 * self.done / max(self.total, 1):.0f} %), {duration(left)} left"
            )
        return f"{progress} [{self.note}]" if self.note else progress

    def _count(self) -> str:
        if not self.unit:
            return self.label
        total = "" if self.total is None else f" of {self.total}"
        return f"{self.label}: {self.done}{total} {self.unit}"

    def _write(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # the stream has been closed
            self._stream.write(f"{line}\n")
            self._stream.flush()


def progress(
    items: Iterable[Item], label: str, total: int | None = None, unit: str = "frames", *, shown: bool = True
) -> Iterator[Item]:
    """Yield the items and show how many of them are done.

    Args:
        items: what is worked on.
        label, total, unit, shown: as for `ProgressLine`; without a total, the length of the items is taken.
    """
    if total is None and hasattr(items, "__len__"):
        total = len(items)
    with ProgressLine(label, total, unit, shown=shown) as line:
        for item in items:
            yield item
            line.update()


def duration(seconds: float) -> str:
    """A time in words: 43 s, 2 min 10 s, 1 h 5 min."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest and minutes < 10 else f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"
