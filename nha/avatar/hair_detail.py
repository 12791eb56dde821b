"""Detail of hair that no frame shows, taken from hair that is seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.spatial import cKDTree

_SLICE = 0.004  # metres, slices of the head from ear to ear whose seen range is measured
_SLICE_BLUR = 3.0  # standard deviation in slices of the blur of these ranges
_FEWEST = 12  # points that a slice needs
_SHORTEST = 0.15  # radians of seen hair that are repeated at least
_FARTHEST = 0.006  # metres to the point that detail is taken from


@dataclass(frozen=True)
class HairPoints:
    """Points of the scalp as a map that is unrolled around the axis through the ears.

    Attributes:
        across: [P] metres along the axis, to the person's left.
        angle: [P] radians around the axis, from the face over the crown to the nape.
        radius: metres, the mean distance to the axis.
    """

    across: np.ndarray
    angle: np.ndarray
    radius: float

    @classmethod
    def unrolled(cls, position: np.ndarray, axis: np.ndarray) -> HairPoints:
        """The map of points [P, 3] of a head that looks along +z, y up; the axis passes through a point [3]."""
        up, front = position[:, 1] - axis[1], position[:, 2] - axis[2]
        angle = np.arctan2(up, front)
        angle = np.where(angle < -np.pi / 2, angle + 2 * np.pi, angle)  # the cut is below the face
        return cls(position[:, 0] - axis[0], angle, float(np.hypot(up, front).mean()))


def mirrored_points(points: HairPoints, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For every point, the seen point whose detail it takes.

    Within a slice from ear to ear, hair is mirrored at the border of what is seen, and again at the hairline, so that
    strands go on without a step.

    Args:
        points: P points.
        seen: bool [P].

    Returns:
        Row of a seen point [P], and whether there is one [P] in 0..1.
    """
    none = np.zeros(len(seen), int), np.zeros(len(seen))
    slices = np.floor((points.across - points.across.min()) / _SLICE).astype(int)
    low, high, enough = _seen_ranges(points.angle[seen], slices[seen], slices.max() + 1)
    if not enough.any():
        return none
    low, high = low[slices], high[slices]
    length = np.maximum(high - low, _SHORTEST)
    past = np.mod(points.angle - high, 2 * length)
    angle = high - np.minimum(past, 2 * length - past)
    rows = np.flatnonzero(seen)
    tree = cKDTree(np.stack([points.across, points.angle * points.radius], 1)[rows])
    distance, nearest = tree.query(np.stack([points.across, angle * points.radius], 1))
    return rows[nearest], np.clip(2 - distance / _FARTHEST, 0, 1)


def _seen_ranges(
    angle: np.ndarray, slices: np.ndarray, n_slices: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The range of seen angles of each slice, blurred along the slices, and whether it has points of its own."""
    low, high = np.zeros(n_slices), np.zeros(n_slices)
    enough = np.bincount(slices, minlength=n_slices) >= _FEWEST
    for i in np.flatnonzero(enough):
        low[i], high[i] = np.percentile(angle[slices == i], (5, 95))
    if enough.any():
        known = np.flatnonzero(enough)
        low, high = (np.interp(np.arange(n_slices), known, values[known]) for values in (low, high))
    return gaussian_filter1d(low, _SLICE_BLUR), gaussian_filter1d(high, _SLICE_BLUR), enough
