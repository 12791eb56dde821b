"""Frame rate and latency of the last images."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Iterator

import numpy as np

_COUNT = 100  # images
_WINDOW_S = 3.0  # older images do not count


class LiveTiming:
    """Collects when images were taken and shown. All times are seconds of one clock."""

    def __init__(self) -> None:
        self._shown: deque[tuple[float, float]] = deque(maxlen=_COUNT)  # time shown, latency

    def add(self, taken_s: float, shown_s: float) -> None:
        """An image that was taken at one time was shown at another."""
        self._shown.append((shown_s, shown_s - taken_s))
        while self._shown[0][0] < shown_s - _WINDOW_S:
            self._shown.popleft()

    @property
    def rate(self) -> float | None:
        """Images per second; None before the second image."""
        if len(self._shown) < 2:
            return None
        span = self._shown[-1][0] - self._shown[0][0]
        return (len(self._shown) - 1) / span if span > 0 else None

    def latency_s(self, percentile: float) -> float | None:
        """A percentile (0..100) of the time from an image to its answer; None without any."""
        return (
            float(np.percentile([latency for _, latency in self._shown], percentile)) if self._shown else None
        )

    def texts(self) -> tuple[str, str]:
        """Frame rate and latency for a user interface; empty before the second image."""
        rate, p50, p95 = self.rate, self.latency_s(50), self.latency_s(95)
        if rate is None:
            return "", ""
        return f"{rate:.0f} fps", f"{1000 * p50:.0f} ms (95 %: {1000 * p95:.0f} ms)"


@contextlib.contextmanager
def timed(seconds: dict[str, float], part: str) -> Iterator[None]:
    """Store the time that a block takes in `seconds` under the part's name."""
    start = time.perf_counter()
    yield
    seconds[part] = time.perf_counter() - start
