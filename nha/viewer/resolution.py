"""How large the next picture is: small enough to follow the hand while something moves, full size at rest."""

from __future__ import annotations

import math
from dataclasses import dataclass

# One picture may change the height by these factors at most: a single slow picture should not blur the next ten.
_SHRINK, _GROW = 0.6, 1.25


@dataclass(frozen=True)
class ResolutionRules:
    """full_height, smallest_height: of a picture, pixels; target_s: how long one may take while something moves;
    rest_s: how long nothing must have changed before the picture is drawn in full."""

    full_height: int
    smallest_height: int = 96
    target_s: float = 0.1
    rest_s: float = 0.25

    def next_height(self, height: float, seconds: float) -> float:
        """The height to draw at while something moves, after a picture of `height` that took `seconds`.

        The time of a picture grows with its pixels, the square of its height; whatever does not grow so is left
        to the next measurement.
        """
        wanted = math.sqrt(self.target_s / max(seconds, 1e-6))
        changed = height * min(max(wanted, _SHRINK), _GROW)
        return min(max(changed, min(self.smallest_height, self.full_height)), self.full_height)


@dataclass
class Refinement:
    """What one picture needs next. Times are seconds of one clock that does not run backwards.

    moving_height: of the pictures while something moves, it follows `drawn`; shown: height of the last picture of the
    current state, 0 where there is none yet.
    """

    rules: ResolutionRules
    moving_height: float = 0.0
    shown: int = 0
    changed_at: float = -math.inf

    def __post_init__(self) -> None:
        if not self.moving_height:
            self.moving_height = max(self.rules.full_height / 2, self.rules.smallest_height)

    def changed(self, now: float) -> None:
        """What is to be seen is another thing from now on."""
        self.shown, self.changed_at = 0, now

    def wanted_height(self, now: float) -> int | None:
        """Height of the picture that should be drawn now, or None for nothing to do."""
        full = self.rules.full_height
        if self.shown >= full:
            return None
        if now - self.changed_at >= self.rules.rest_s:
            return full
        return None if self.shown else self._height_in_motion

    def drawn(self, height: int, seconds: float) -> None:
        """A picture of the current state was drawn at `height` and took `seconds`."""
        self.shown = height
        if height == self._height_in_motion:  # a full picture at rest says little about small ones
            self.moving_height = self.rules.next_height(self.moving_height, seconds)

    @property
    def _height_in_motion(self) -> int:
        return min(_even(self.moving_height), self.rules.full_height)


def _even(height: float) -> int:
    """Rounded to 8 pixels, so that pictures do not change their size all the time."""
    return max(8, 8 * round(height / 8))
