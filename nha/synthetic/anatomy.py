"""Facial features of a head model's template, located by its landmarks and part names only.

Positions are in the face frame: origin midway between the eyeballs, +x to the person's left, +y up, +z forward, scaled
to millimetres of a head whose eyes are 63 mm apart, so that the size of a head model does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nha.head.assets import HeadAssets

EYE_DISTANCE_MM = 63.0
SIDES = ("left", "right")
_SIDE_LANDMARKS = {
    "right": (36, 37, 38, 39, 40, 41),
    "left": (45, 44, 43, 42, 47, 46),
}  # outer corner, over the top
_BROW_LANDMARKS = {"right": (21, 20, 19, 18, 17), "left": (22, 23, 24, 25, 26)}  # from the nose outwards
_OUTER_LIP = tuple(range(48, 60))
_UPPER_CONTACT, _LOWER_CONTACT = (60, 61, 62, 63, 64), (60, 67, 66, 65, 64)


@dataclass(frozen=True)
class FaceFrame:
    """The transform between a head model's coordinates and the face frame.

    Attributes:
        origin: [3] metres in the head model's coordinates.
        mm_per_metre: scale from metres to millimetres in the face frame.
    """

    origin: np.ndarray
    mm_per_metre: float

    def to_mm(self, points: np.ndarray) -> np.ndarray:
        """Convert head model coordinates [..., 3] in metres to face frame millimetres."""
        return (points - self.origin) * self.mm_per_metre

    def to_metres(self, points_mm: np.ndarray) -> np.ndarray:
        """The inverse of `to_mm`."""
        return points_mm / self.mm_per_metre + self.origin


def face_frame(assets: HeadAssets) -> FaceFrame:
    """The face frame of a head model's template."""
    left, right = (
        assets.template_vertices[assets.parts[f"{side}_eyeball"]].mean(0).astype(float) for side in SIDES
    )
    return FaceFrame((left + right) / 2, EYE_DISTANCE_MM / float(np.linalg.norm(left - right)))


def landmarks_of(assets: HeadAssets, vertices: np.ndarray) -> np.ndarray:
    """The 70 landmarks [70, 3] on vertices [V, 3] of the head model without subdivision."""
    corners = vertices[assets.closed.faces[assets.landmark_faces]]
    return (corners * assets.landmark_barycentric[..., None]).sum(1)


@dataclass(frozen=True)
class Anatomy:
    """Facial features in face frame millimetres.

    Attributes:
        frame: the face frame.
        landmarks: [70, 3].
        brows: for each side a curve [K, 3] from the nose outwards.
        upper_lids: for each side a curve [K, 3].
        eye_centres: for each side [3].
        eye_radius: radius of the eyeballs.
        lip_outline: closed curve [K, 2] in (x, y).
        lip_contact: [K, 2], the line between the lips, sorted by x.
        nostrils: for each side [3].
    """

    frame: FaceFrame
    landmarks: np.ndarray
    brows: dict[str, np.ndarray]
    upper_lids: dict[str, np.ndarray]
    eye_centres: dict[str, np.ndarray]
    eye_radius: float
    lip_outline: np.ndarray
    lip_contact: np.ndarray
    nostrils: dict[str, np.ndarray]


def measure_face(assets: HeadAssets) -> Anatomy:
    """Locate the facial features of a head model's template."""
    frame = face_frame(assets)
    points = frame.to_mm(assets.template_vertices.astype(float))
    marks = landmarks_of(assets, points)
    balls = {side: points[assets.parts[f"{side}_eyeball"]] for side in SIDES}
    centres = {side: 0.5 * (ball.min(0) + ball.max(0)) for side, ball in balls.items()}
    contact = 0.5 * (marks[list(_UPPER_CONTACT)] + marks[list(_LOWER_CONTACT)])[:, :2]
    nostrils = {"right": marks[32] + [-0.5, 2.5, 1.0], "left": marks[34] + [0.5, 2.5, 1.0]}
    return Anatomy(
        frame=frame,
        landmarks=marks,
        brows={side: smooth_curve(marks[list(ids)]) for side, ids in _BROW_LANDMARKS.items()},
        upper_lids={side: smooth_curve(marks[list(ids[:4])]) for side, ids in _SIDE_LANDMARKS.items()},
        eye_centres=centres,
        eye_radius=float(np.linalg.norm(balls["left"] - centres["left"], axis=1).mean()),
        lip_outline=smooth_loop(marks[list(_OUTER_LIP), :2]),
        lip_contact=contact[np.argsort(contact[:, 0])],
        nostrils=nostrils,
    )


def smooth_curve(points: np.ndarray, per_segment: int = 6) -> np.ndarray:
    """An open Catmull-Rom curve through points [M, D]."""
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    return np.concatenate([_catmull_rom(padded, per_segment), points[-1:]])


def smooth_loop(points: np.ndarray, per_segment: int = 5) -> np.ndarray:
    """A closed Catmull-Rom curve through points [M, D]; the first point is not repeated."""
    return _catmull_rom(np.concatenate([points[-1:], points, points[:2]]), per_segment)


def _catmull_rom(points: np.ndarray, per_segment: int) -> np.ndarray:
    t = (np.arange(per_segment) / per_segment)[None, :, None]
    a, b, c, d = (points[i : len(points) - 3 + i, None] for i in range(4))
    curve = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * (b - c) + d - a) * t**3)
    return curve.reshape(-1, points.shape[1])


def distance_to_curve(points: np.ndarray, curve: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances [M] of points [M, D] to an open polyline [K, D], and the nearest points' positions along it (0..1)."""
    lengths = np.linalg.norm(np.diff(curve, axis=0), axis=1)
    before = np.concatenate([[0.0], np.cumsum(lengths)])
    best_squared, along = np.full(len(points), np.inf), np.zeros(len(points))
    for i, length in enumerate(lengths):
        step = (curve[i + 1] - curve[i]) / max(length, 1e-12)
        arm = points - curve[i]
        t = np.clip(arm @ step, 0, length)
        off = arm - t[:, None] * step
        squared = np.einsum("mk,mk->m", off, off)  # much faster than a norm along the short axis
        nearer = squared < best_squared
        best_squared = np.where(nearer, squared, best_squared)
        along = np.where(nearer, before[i] + t, along)
    return np.sqrt(best_squared), along / before[-1]


def signed_distance_to_loop(points: np.ndarray, loop: np.ndarray) -> np.ndarray:
    """Signed distances [M] of points [M, 2] to a closed polygon [K, 2], negative inside."""
    distance, _ = distance_to_curve(points, np.concatenate([loop, loop[:1]]))
    inside = np.zeros(len(points), bool)
    for (ax, ay), (bx, by) in zip(loop, np.roll(loop, -1, 0), strict=True):
        crosses = (ay > points[:, 1]) != (by > points[:, 1])
        if ay != by:
            inside ^= crosses & (points[:, 0] < ax + (points[:, 1] - ay) * (bx - ax) / (by - ay))
    return np.where(inside, -distance, distance)
