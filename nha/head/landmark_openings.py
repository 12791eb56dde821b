"""Openings of mouth and eyes, measured between landmarks, and how two series of them follow each other."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from nha.core.conventions import EYE_CLOSURE_PAIRS, INNER_LIP_PAIRS, OUTER_EYE_CORNERS

# name -> pairs of upper and lower points; an opening is the mean over its pairs
OPENINGS: Mapping[str, tuple[tuple[int, int], ...]] = {"lip": INNER_LIP_PAIRS, "lid": EYE_CLOSURE_PAIRS}
SMALLEST_MOTION = 1e-3  # standard deviation of an opening, of the eye distance, below which there is no slope


def relative_openings(landmarks: Tensor) -> dict[str, np.ndarray]:
    """Openings as parts of the distance between the outer eye corners.

    Args:
        landmarks: [N, 68, 2] or [N, 68, 3], in any unit.

    Returns:
        [N] for each name of `OPENINGS`.
    """

    def distance(pairs: tuple[tuple[int, int], ...]) -> Tensor:
        upper, lower = torch.tensor(pairs, device=landmarks.device).T
        return (landmarks[:, upper] - landmarks[:, lower]).norm(dim=-1).mean(1)

    unit = distance((OUTER_EYE_CORNERS,))
    return {name: (distance(pairs) / unit).double().cpu().numpy() for name, pairs in OPENINGS.items()}


def opening_slopes(drawn: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Slope of the drawn over the wanted openings (least squares), and their correlation.

    Args:
        drawn: [N] for each name of `OPENINGS`.
        wanted: the same; NaN in frames that do not count.

    Returns:
        "lip_slope", "lip_correlation", "lid_slope" and "lid_correlation"; 1 is right for each. NaN where the wanted
        opening does not change.
    """
    result = {}
    for name in OPENINGS:
        known = np.isfinite(wanted[name]) & np.isfinite(drawn[name])
        y, x = drawn[name][known], wanted[name][known]
        slope = correlation = float("nan")
        if len(x) > 1 and x.std() > SMALLEST_MOTION:
            centred = x - x.mean()
            slope = float(centred @ (y - y.mean()) / (centred @ centred))
            # |correlation| <= 1: the slope times the ratio of the deviations; 0 for an opening that is drawn constant
            correlation = slope * float(x.std() / max(y.std(), 1e-12))
        result |= {f"{name}_slope": slope, f"{name}_correlation": correlation}
    return result
