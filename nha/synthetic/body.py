"""Surfaces that a head model does not have: teeth, tongue, and a torso with clothes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Rings from inside the collar over its edge downwards, in mm: height above the root joint, half width, half depth,
# z of the centre.
_RAISED_MM = 10.0
_TORSO_RINGS_MM = (
    (6.0, 55.0, 55.0, 6.0),
    (15.0, 62.0, 60.0, 7.0),
    (15.5, 65.0, 63.5, 7.0),
    (4.0, 71.0, 68.0, 6.0),
    (-4.0, 86.0, 72.0, 4.0),
    (-14.0, 112.0, 77.0, 2.0),
    (-27.0, 143.0, 82.0, 1.0),
    (-45.0, 172.0, 86.0, 2.0),
    (-70.0, 192.0, 90.0, 5.0),
    (-105.0, 202.0, 96.0, 9.0),
    (-160.0, 204.0, 104.0, 14.0),
    (-320.0, 196.0, 108.0, 16.0),
)
COLLAR_ABOVE_MM = 11.0  # above this height over the root joint the cloth is a collar
_AROUND = 96


@dataclass(frozen=True)
class Piece:
    """A surface.

    Attributes:
        vertices: [V, 3] mm.
        faces: [F, 3], counter-clockwise seen from outside.
        coords: [V, 3] coordinates for the material; see the function that builds the surface.
    """

    vertices: np.ndarray
    faces: np.ndarray
    coords: np.ndarray


def is_under_clothes(points: np.ndarray) -> np.ndarray:
    """Bool [V]: points [V, 3] of the neck (mm from the root joint) that are hidden by clothes."""
    reach, height = np.hypot(points[:, 0], points[:, 2] - 6.0), points[:, 1]
    return (height < 10.0) | ((height < 23.0) & (reach > 63.0)) | ((height < 45.0) & (reach > 84.0))


def grid_faces(rows: int, columns: int) -> np.ndarray:
    """Triangles [F, 3] between the points of a grid that are numbered row by row."""
    ids = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = (part.ravel() for part in (ids[:-1, :-1], ids[:-1, 1:], ids[1:, :-1], ids[1:, 1:]))
    return np.concatenate([np.stack([a, c, b], -1), np.stack([b, c, d], -1)])


def _grid_piece(points: np.ndarray, coords: np.ndarray) -> Piece:
    return Piece(points.reshape(-1, 3), grid_faces(*points.shape[:2]), coords.reshape(-1, 3))


def build_teeth(mouth_middle: np.ndarray, upper: bool) -> Piece:
    """A row of teeth behind the lips; `coords` are (arc length, height over the biting edge, depth) in mm.

    Args:
        mouth_middle: [3] the midpoint of the line between the lips, face frame mm.
        upper: the upper row instead of the lower one.
    """
    theta = np.radians(np.linspace(-80, 80, 81))
    arch_x = (24.0 if upper else 22.5) * np.sin(theta)
    arch_z = mouth_middle[2] - (8.0 if upper else 10.0) - 21.0 * (1 - np.cos(theta))
    arc = np.radians(np.linspace(-80, 80, 81)) * 23.0
    edge = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(arch_x), np.diff(arch_z)))])
    arc = edge - edge[-1] / 2
    # (height over the biting edge, depth)
    profile = np.array(
        [(13, 1.5), (9, 0.3), (6, 0.0), (3, 0.0), (1, 0.2), (0, 1.0), (0.4, 3.5), (6, 6.0)], float
    )
    biting_y = mouth_middle[1] + (-1.6 if upper else -3.8)
    sign = 1.0 if upper else -1.0
    height, back = profile[:, :1], profile[:, 1:]
    inward = np.stack([-np.sin(theta), -np.cos(theta)], -1)
    points = np.stack(
        [
            arch_x + back * inward[:, 0],
            np.broadcast_to(biting_y + sign * height, (len(profile), len(theta))),
            arch_z + back * inward[:, 1],
        ],
        -1,
    )
    coords = np.stack(np.broadcast_arrays(arc[None], height, back), -1)
    return _grid_piece(points, coords) if upper else _grid_piece(points[::-1], coords[::-1])


def build_tongue(mouth_middle: np.ndarray) -> Piece:
    """A tongue behind the lower teeth; `coords` are the points on the unit sphere. mouth_middle: as for the teeth."""
    turn, polar = np.meshgrid(np.linspace(0, -2 * np.pi, 33), np.linspace(0, np.pi, 17))
    ball = np.stack([np.sin(polar) * np.cos(turn), np.cos(polar), np.sin(polar) * np.sin(turn)], -1)
    centre = mouth_middle + [0.0, -12.0, -31.0]
    groove = 1.6 * np.exp(-((ball[..., 0] / 0.22) ** 2)) * (ball[..., 1] > 0)
    points = centre + ball * [15.5, 6.5, 19.0] - np.stack([0 * groove, groove, 0 * groove], -1)
    return _grid_piece(points, ball)


def build_torso() -> Piece:
    """Shoulders and chest in mm from the root joint, axes as the head's; `coords` are undeformed positions."""
    rings = np.array(_TORSO_RINGS_MM) + [_RAISED_MM, 0, 0, 0]
    fine = np.linspace(0, len(rings) - 1, 4 * (len(rings) - 1) + 1)
    rings = np.stack([np.interp(fine, np.arange(len(rings)), column) for column in rings.T], -1)
    turn = np.linspace(0, 2 * np.pi, _AROUND + 1)
    sin, cos = np.sin(turn), np.cos(turn)
    # wide rings are closer to rectangles
    power = 1.0 - 0.25 * np.clip((rings[:, 1:2] - 90) / 110, 0, 1)
    x = rings[:, 1:2] * np.sign(sin) * np.abs(sin) ** power
    z = rings[:, 3:] + rings[:, 2:3] * np.sign(cos) * np.abs(cos) ** power
    drop = 10.0 * np.clip(cos, 0, 1) ** 2 * np.exp(-(((rings[:, :1] - 8) / 26) ** 2))
    points = np.stack([x, np.broadcast_to(rings[:, :1], x.shape) - drop, z], -1)
    heights = np.broadcast_to(rings[:, :1], x.shape)
    return _grid_piece(points, np.stack([points[..., 0], heights, points[..., 2]], -1))
