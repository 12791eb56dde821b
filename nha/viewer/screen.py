"""What one person sees: which picture is drawn next for them, and how many there were a second."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nha.viewer.recording import Moment
from nha.viewer.resolution import Refinement, ResolutionRules
from nha.viewer.stage import Stage

_PAUSE_S = 1.0  # pictures that are further apart do not belong to one movement
_COUNTED = 12  # pictures that the rate is measured over


@dataclass(frozen=True)
class Drawn:
    """rgb: uint8 [H, W, 3]; at_rest: whether it is drawn in full; rate: pictures a second of the movement that it
    belongs to, None where it is the first of it."""

    rgb: np.ndarray
    at_rest: bool
    rate: float | None


class Screen:
    """Draws for one person whatever has changed, smaller while it changes and in full when it rests."""

    def __init__(
        self, stage: Stage, rules: ResolutionRules, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        """clock: seconds; it does not run backwards."""
        self._stage, self._clock = stage, clock
        self._refinement = Refinement(rules)
        self._seen: tuple[Moment, float] | None = None
        self._ends: deque[float] = deque(maxlen=_COUNTED)

    def step(self, moment: Moment, aspect: float) -> Drawn | None:
        """The picture that is to be shown now, or None where the last one is still right.

        aspect: width over height of the window.
        """
        now = self._clock()
        if (moment, aspect) != self._seen:
            self._seen = moment, aspect
            self._refinement.changed(now)
        height = self._refinement.wanted_height(now)
        if height is None:
            return None
        size = height, max(1, round(height * aspect))
        rgb = self._stage.picture(moment.state, moment.viewpoint, size, moment.look)
        end = self._clock()
        self._refinement.drawn(height, end - now)
        return Drawn(rgb, height >= self._refinement.rules.full_height, self._rate(end))

    def _rate(self, end: float) -> float | None:
        if self._ends and end - self._ends[-1] > _PAUSE_S:
            self._ends.clear()
        self._ends.append(end)
        span = self._ends[-1] - self._ends[0]
        return (len(self._ends) - 1) / span if span > 0 else None
