"""Smooth displacement fields with compact support, from which identities and expressions are composed."""

from __future__ import annotations

import numpy as np

from nha.head.procedural.patches import EYE_POINTS, EYE_RADIUS, EYE_RIM_RING, lid_support
from nha.head.procedural.rig import lower_lip_share
from nha.head.procedural.sculpt import smooth_step
from nha.head.procedural.template import Template, eye_centre

_FLIP = np.array([-1.0, 1.0, 1.0])
SIDES = ("left", "right")

# Share of the rim's displacement for each ring of the lids: 0 is the orbit, 6 the rim, 7 and more the socket.
_SHARE_OF_RING = (0.0, 0.06, 0.26, 0.56, 0.84, 1.0, 1.0, 0.75, 0.3, 0.0, 0.0, 0.0, 0.0)
_UPPER_TRAVEL = 0.74  # share of the opening that the upper lid covers; the lower lid covers the rest


def bump(points: np.ndarray, centre, radii) -> np.ndarray:
    """(1 - q^2)^2 inside an ellipsoid and 0 outside [V]; q is the distance in units of the radii."""
    q2 = (((points - np.asarray(centre, float)) / np.asarray(radii, float)) ** 2).sum(-1)
    return np.clip(1.0 - q2, 0.0, None) ** 2


class FieldMaker:
    """Displacements [V, 3] in mm of a template's vertices.

    Centres, radii and vectors are given in mm for the left side. `side` is "left", "right" for the mirror image,
    "both" for their sum, or "middle" for a field on the midline, which is not mirrored.
    """

    def __init__(self, template: Template):
        self.template = template
        self.points = template.vertices
        x, y, _ = self.points.T
        rings = template.skin.mouth_rings
        lower = smooth_step(-39.0 - y, -2.5, 2.5)
        lower[rings] = lower_lip_share(template)
        self.lower_side = lower  # 0 above the line between the lips, 1 below
        self.near_lips = np.zeros(len(x))
        self.near_lips[rings] = np.array([0.0, 0.35, 0.75, 1, 1, 1, 1, 1, 0.8, 0.6])[:, None]
        self.eye_hold = {side: self._eye_hold(side) for side in SIDES}

    def _eye_hold(self, side: str) -> np.ndarray:
        hold = np.zeros(len(self.points))
        per_ring = np.array([0.0, 0.2, 0.55, 0.85, 1, 1, 1, 1, 1, 1, 1, 1, 1])
        rings = self.template.eye_rings(side)
        hold[rings] = per_ring[:, None]
        faces = self.template.faces
        touching = faces[np.isin(faces, rings[-1]).any(1)]
        hold[np.setdiff1d(touching, rings)] = 1.0  # the bottom of the socket
        hold[self.template.eyeball(side)] = 1.0
        return hold

    def _sides(self, side: str):
        if side in ("both", "left", "middle"):
            yield np.ones(3)
        if side in ("both", "right"):
            yield _FLIP

    def push(self, centre, radii, vector, side: str = "both", mask: np.ndarray | None = None) -> np.ndarray:
        """A displacement by `vector` (mm) at the centre that decreases to 0 at the surface of an ellipsoid."""
        field = np.zeros_like(self.points)
        for flip in self._sides(side):
            field += bump(self.points * flip, centre, radii)[:, None] * (np.asarray(vector, float) * flip)
        return field if mask is None else field * mask[:, None]

    def scale(self, centre, radii, factors, side: str = "both") -> np.ndarray:
        """A stretch about the centre of an ellipsoid by `factors` (per axis, 0.1 = 10 %), 0 at its surface."""
        field = np.zeros_like(self.points)
        for flip in self._sides(side):
            local = self.points * flip
            move = (local - np.asarray(centre, float)) * np.asarray(factors, float)
            field += bump(local, centre, radii)[:, None] * move * flip
        return field

    def keep_eyes_round(self, field: np.ndarray) -> np.ndarray:
        """The field with rigid motion of each eyeball, its socket and the rims of its lids."""
        for side in SIDES:
            ball = self.template.eyeball(side)
            rigid = field[ball].mean(0)
            hold = self.eye_hold[side][:, None]
            field = (1.0 - hold) * field + hold * rigid
        return field

    def eye_only(self, side: str, amount: np.ndarray) -> np.ndarray:
        """The uniform scaling of one eye (ball, socket, lids) about its centre by 1 + `amount`."""
        return amount * self.eye_hold[side][:, None] * (self.points - eye_centre(side))


def lid_displacement(template: Template, side: str) -> np.ndarray:
    """The displacement [V, 3] in mm that closes one eye's lids."""
    flip = np.array([1.0 if side == "left" else -1.0, 1.0, 1.0])
    rings = template.eye_rings(side)
    local = (template.vertices[rings] - eye_centre(side)) * flip  # [13, 32, 3], the left eye's frame
    opposite = (-np.arange(EYE_POINTS)) % EYE_POINTS
    rim = local[EYE_RIM_RING]
    upper = np.sin(2 * np.pi * np.arange(EYE_POINTS) / EYE_POINTS) > 0
    travel = np.where(upper, _UPPER_TRAVEL, 1.0 - _UPPER_TRAVEL)[:, None]
    rim_move = travel * (rim[opposite] - rim)
    field = np.zeros_like(template.vertices)
    for ring, share in enumerate(_SHARE_OF_RING):
        start = local[ring]
        end = start.copy()
        end[:, :2] += share * rim_move[:, :2]
        if ring <= EYE_RIM_RING:
            # Keep the height over the eyeball, plus a little because vertices move on straight lines.
            lift = 0.7 * share * np.clip(np.abs(rim_move[:, 1]) / 6.0, 0, 1)
            end[:, 2] += lid_support(end[:, 0], end[:, 1]) - lid_support(start[:, 0], start[:, 1]) + lift
        else:
            radius = np.linalg.norm(start, axis=1)
            front = np.sqrt(np.maximum(radius**2 - end[:, 0] ** 2 - end[:, 1] ** 2, (0.3 * EYE_RADIUS) ** 2))
            end[:, 2] = np.where(share > 0, np.sign(start[:, 2]) * front, start[:, 2])
            end *= (np.maximum(radius, EYE_RADIUS + 0.6) / np.linalg.norm(end, axis=1))[:, None]
        field[rings[ring]] = (end - start) * flip
    return field
