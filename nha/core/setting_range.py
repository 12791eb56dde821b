"""Range checks of settings."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from nha.core.errors import UserError

# The largest absolute value of a setting without a range of its own: larger ones overflow in some computation.
LARGEST = {int: 2**31 - 1, float: 1e9}


@dataclass(frozen=True)
class SettingRange:
    """What a setting takes.

    Attributes:
        option: its name in messages, with dashes.
        minimum, maximum: of the number, or of each number of a list; None is the limit in `LARGEST`.
        min_items: smallest number of items of a list.
    """

    option: str
    minimum: float | None = None
    maximum: float | None = None
    min_items: int = 0

    def of(self, kind: type) -> tuple[float, float]:
        """The smallest and the largest number of a type, int or float."""
        low = -LARGEST[kind] if self.minimum is None else self.minimum
        return low, LARGEST[kind] if self.maximum is None else self.maximum

    def check(self, value: Any) -> None:
        """Raise UserError for a number out of range, also in a nested list, and for a list that is too short."""
        if isinstance(value, (list, tuple)) and len(value) < self.min_items:
            raise UserError(f"{self.option} must have at least {self.min_items} item, but has {len(value)}")
        for number in _numbers_in(value):
            low, high = self.of(int if isinstance(number, int) else float)
            if not math.isfinite(number):
                raise UserError(f"{self.option} must be a finite number, but is {number:g}")
            if number < low:
                raise UserError(f"{self.option} must be at least {_short(low)}, but is {_short(number)}")
            if number > high:
                raise UserError(f"{self.option} must be at most {_short(high)}, but is {_short(number)}")


def _numbers_in(value: Any) -> Iterator[float]:
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _numbers_in(item)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield value


def _short(number: float) -> str:
    if isinstance(number, int) and abs(number) < 1e12:
        return str(number)
    # an int may have more digits than a float can express
    return f"{number:g}" if abs(number) < 1e300 else "far beyond it"
