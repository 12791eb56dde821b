"""Stages of the tracker as data."""

from __future__ import annotations

from collections.abc import Sequence


def blur_sigma_at(step: int, n_steps: int, blur_sigma: Sequence[float]) -> float:
    """Blur of the picture in step 0, 1, ...: geometrically from the first to the last sigma in `n_steps`.

    Later steps keep the last sigma (the published first frame uses the same short schedule).
    """
    first, last = blur_sigma
    return first * (last / first) ** (min(step, n_steps - 1) / max(n_steps - 1, 1))
