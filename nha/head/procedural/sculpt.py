"""The neutral skin as an implicit surface: a smooth union of ellipsoids and tapered capsules.

Sculpting coordinates are millimetres with the origin between the ears, 25 mm below the eyes, +x to the person's left,
+y up and +z forward. The solid is symmetric in x. Eyelids, lips and ears are built on it by `patches`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

# A ray from this point to any surface point above the neck ring stays inside the solid.
STAR_CENTRE = np.array([0.0, 0.0, -15.0])


def smooth_step(x: np.ndarray, low: float | np.ndarray, high: float | np.ndarray) -> np.ndarray:
    """0 below `low`, 1 above `high`, and 3 t^2 - 2 t^3 in between."""
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def smooth_min(a: np.ndarray, b: np.ndarray, blend_mm: float) -> np.ndarray:
    """The union of two signed distance fields, rounded over `blend_mm`."""
    overlap = np.maximum(blend_mm - np.abs(a - b), 0.0) / blend_mm
    return np.minimum(a, b) - overlap * overlap * blend_mm * 0.25


def smooth_subtract(solid: np.ndarray, tool: np.ndarray, blend_mm: float) -> np.ndarray:
    """The distance field `solid` without `tool`, edges rounded over `blend_mm`."""
    return -smooth_min(-solid, tool, blend_mm)


def _length(vectors: np.ndarray) -> np.ndarray:
    return np.sqrt(np.einsum("...k,...k->...", vectors, vectors))


def ellipsoid(points: np.ndarray, centre: tuple, radii: tuple) -> np.ndarray:
    """The approximate signed distance [...] of points [..., 3] to an ellipsoid (negative inside)."""
    scaled = (points - np.asarray(centre, float)) / np.asarray(radii, float)
    norm = _length(scaled)
    slope = _length(scaled / np.asarray(radii, float))
    return norm * (norm - 1.0) / np.maximum(slope, 1e-9)


def capsule(
    points: np.ndarray, start: tuple, end: tuple, start_radius: float, end_radius: float
) -> np.ndarray:
    """The approximate signed distance [...] of points [..., 3] to a capsule of changing radius."""
    start, end = np.asarray(start, float), np.asarray(end, float)
    axis = end - start
    along = np.clip((points - start) @ axis / (axis @ axis), 0.0, 1.0)
    distance = _length(points - start - along[..., None] * axis)
    return distance - (start_radius + along * (end_radius - start_radius))


def _pair(shape: Callable[[np.ndarray], np.ndarray], points: np.ndarray, blend_mm: float) -> np.ndarray:
    """The smooth union of a shape and its mirror image."""
    return smooth_min(shape(points), shape(points * np.array([-1.0, 1.0, 1.0])), blend_mm)


def _skull_and_jaw(p: np.ndarray) -> np.ndarray:
    d = ellipsoid(p, (0, 40, -34), (76, 87, 95))
    d = smooth_min(d, _pair(lambda q: ellipsoid(q, (22, 56, -42), (50, 60, 74)), p, 20), 20)
    d = smooth_min(d, ellipsoid(p, (0, 46, 0), (64, 58, 62)), 16)
    d = smooth_min(d, ellipsoid(p, (0, -6, -2), (66, 66, 68)), 24)
    d = smooth_min(d, _pair(lambda q: capsule(q, (44, -46, -10), (15, -70, 44), 17, 13), p, 14), 26)
    d = smooth_min(d, ellipsoid(p, (0, -44, 18), (46, 36, 46)), 20)
    d = smooth_min(d, _pair(lambda q: capsule(q, (50, 4, 22), (34, -2, 40), 14, 15), p, 10), 24)
    d = smooth_min(d, _pair(lambda q: ellipsoid(q, (40, -26, 28), (20, 26, 24)), p, 10), 26)
    d = smooth_min(d, ellipsoid(p, (0, -70, 47), (18, 13, 17)), 18)
    neck = capsule(p, (0, -40, -38), (0, -220, -62), 50, 57)
    return smooth_min(d, neck, 30)


def _face_features(d: np.ndarray, p: np.ndarray) -> np.ndarray:
    d = smooth_min(d, ellipsoid(p, (0, -38, 47), (26, 26, 27)), 18)
    d = smooth_min(d, _pair(lambda q: capsule(q, (9, 43, 56), (45, 43, 35), 7, 6), p, 12), 16)
    d = smooth_subtract(d, _pair(lambda q: ellipsoid(q, (31, 24, 62.5), (18, 10, 12)), p, 6), 18)
    d = smooth_subtract(d, _pair(lambda q: ellipsoid(q, (88, 42, 42), (24, 26, 26)), p, 6), 30)
    return d


def _nose(d: np.ndarray, p: np.ndarray) -> np.ndarray:
    bridge = capsule(p, (0, 36, 54), (0, 3, 75.0), 8.0, 8.6)
    tip = ellipsoid(p, (0, -3, 77.5), (9.3, 8.6, 10.0))
    alae = _pair(lambda q: capsule(q, (11.6, -8.4, 65.5), (7.8, -8.8, 77.5), 6.4, 4.6), p, 3)
    columella = capsule(p, (0, -8, 79), (0, -14, 68), 3.8, 5.0)
    nose = smooth_min(smooth_min(bridge, tip, 12), columella, 5)
    nose = smooth_min(nose, alae, 6)
    d = smooth_min(d, nose, 10)
    nostrils = _pair(lambda q: ellipsoid(q, (6.3, -13.6, 77.0), (3.0, 3.0, 4.0)), p, 0.5)
    d = smooth_subtract(d, nostrils, 2.5)
    philtrum = capsule(p, (0, -20, 77.5), (0, -32, 79.0), 4.0, 4.5)
    return smooth_subtract(d, philtrum, 6.0)


def skin_distance(points: np.ndarray) -> np.ndarray:
    """The approximate signed distance [...] in mm of points [..., 3] to the skin (negative inside)."""
    return _nose(_face_features(_skull_and_jaw(points), points), points)


def project_along_rays(
    origins: np.ndarray,
    directions: np.ndarray,
    near_mm: float,
    far_mm: float,
    halvings: int = 7,
    secants: int = 7,
) -> np.ndarray:
    """The points [M, 3] where rays leave the solid.

    Bisection isolates the crossing, then the Illinois variant of the secant method refines it.

    Args:
        origins: [3] or [M, 3] mm.
        directions: [M, 3] of unit length.
        near_mm, far_mm: distances along the rays inside and outside the solid.
        halvings: the number of bisection steps.
        secants: the number of secant steps.
    """
    near, far = np.full(len(directions), float(near_mm)), np.full(len(directions), float(far_mm))
    near_value, far_value = np.full(len(near), -1.0), np.full(len(near), 1.0)
    for step in range(halvings + secants):
        if step < halvings:
            middle = 0.5 * (near + far)
        else:
            middle = (near * far_value - far * near_value) / (far_value - near_value)
        value = skin_distance(origins + middle[:, None] * directions)
        inside = value < 0
        # Illinois: the value at the end that is kept is halved, so that both ends converge.
        far_value = np.where(inside, far_value * (0.5 if step > halvings else 1.0), value)
        near_value = np.where(inside, value, near_value * (0.5 if step > halvings else 1.0))
        near, far = np.where(inside, middle, near), np.where(inside, far, middle)
    middle = (near * far_value - far * near_value) / (far_value - near_value)
    return origins + middle[:, None] * directions


def skin_from_centre(directions: np.ndarray, coarse: bool = False) -> np.ndarray:
    """The skin points [M, 3] seen from the star centre in `directions` [M, 3] (unit length).

    coarse: accurate to about a millimetre, which is enough for candidates.
    """
    return project_along_rays(STAR_CENTRE, directions, 20.0, 260.0, secants=2 if coarse else 7)


def skin_near(points: np.ndarray) -> np.ndarray:
    """Points [M, 3] within 2 cm of the skin, moved onto it along rays from the star centre."""
    arm = points - STAR_CENTRE
    reach = np.linalg.norm(arm, axis=1, keepdims=True)
    direction = arm / reach
    start = STAR_CENTRE + (reach - 25.0) * direction
    return project_along_rays(start, direction, 0.0, 50.0, halvings=3, secants=6)


def skin_from_front(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The skin points [M, 3] at (x, y), seen from the front."""
    start = np.stack([x, y, np.zeros_like(x)], -1)
    return project_along_rays(start, np.tile([0.0, 0.0, 1.0], (len(x), 1)), 0.0, 120.0)
