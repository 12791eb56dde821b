"""Times of the tracker's stages, and what is shown while they run."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from nha.core.progress import ProgressLine


@contextlib.contextmanager
def timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Measure the time of a block and store it in `seconds` under the stage's name."""
    began = time.perf_counter()
    yield
    seconds[stage] = round(time.perf_counter() - began, 3)


@contextlib.contextmanager
def shown_stage(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """As `timed`, for a stage of several seconds: a log shows that it goes on."""
    with ProgressLine(f"tracking: {stage}", unit=""), timed(seconds, stage):
        yield
