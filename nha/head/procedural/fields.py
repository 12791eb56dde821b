"""Smooth displacement fields with compact support, the building blocks of identities and expressions."""

from __future__ import annotations

import numpy as np

from nha.head.procedural.rig import lower_lip_share, smooth_step
from nha.head.procedural.template import Template, eye_centre

_FLIP = np.array([-1.0, 1.0, 1.0])
SIDES = ("left", "right")


def bump(points: np.ndarray, centre, radii) -> np.ndarray:
    """Return (1 - q^2)^2 [V] inside an ellipsoid, 0 outside; q is the distance in units of the radii."""
    q2 = (((points - np.asarray(centre, float)) / np.asarray(radii, float)) ** 2).sum(-1)
    return np.clip(1.0 - q2, 0.0, None) ** 2


class FieldMaker:
    """Displacements [V, 3] in mm on one template; centres and vectors are given for the left side.

    side: "both" adds the mirror image, "left" and "right" keep one side of it, "middle" takes the bump as it is.
    """

    def __init__(self, template: Template):
        self.template = template
        self.points = template.vertices
        x, y, _ = self.points.T
        rings = template.skin.mouth_rings
        lower = smooth_step(-39.0 - y, -2.5, 2.5)
        lower[rings] = lower_lip_share(template)
        self.lower_side = lower  # 0 above the line of the mouth, 1 below, following the lips where they touch
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
        hold[np.setdiff1d(touching, rings)] = 1.0  # the socket's end
        hold[self.template.eyeball(side)] = 1.0
        return hold

    def _sides(self, side: str):
        if side in ("both", "left", "middle"):
            yield np.ones(3)
        if side in ("both", "right"):
            yield _FLIP

    def push(self, centre, radii, vector, side: str = "both", mask: np.ndarray | None = None) -> np.ndarray:
        """Return a displacement along `vector` (mm at the centre), falling to 0 at the ellipsoid's edge."""
        field = np.zeros_like(self.points)
        for flip in self._sides(side):
            field += bump(self.points * flip, centre, radii)[:, None] * (np.asarray(vector, float) * flip)
        return field if mask is None else field * mask[:, None]

    def scale(self, centre, radii, factors, side: str = "both") -> np.ndarray:
        """Return a stretch by `factors` (per axis, 0.1 = 10 %) about a centre, falling to 0 at the edge."""
        field = np.zeros_like(self.points)
        for flip in self._sides(side):
            local = self.points * flip
            move = (local - np.asarray(centre, float)) * np.asarray(factors, float)
            field += bump(local, centre, radii)[:, None] * move * flip
        return field

    def keep_eyes_round(self, field: np.ndarray) -> np.ndarray:
        """Return the field with each eyeball, its socket and lid rims moved rigidly, as the eye's front moves."""
        for side in SIDES:
            ball = self.template.eyeball(side)
            rigid = field[ball].mean(0)
            hold = self.eye_hold[side][:, None]
            field = (1.0 - hold) * field + hold * rigid
        return field

    def eye_only(self, side: str, amount: np.ndarray) -> np.ndarray:
        """Return the uniform growth of one eye (ball, socket, lids) about its centre by `amount`."""
        return amount * self.eye_hold[side][:, None] * (self.points - eye_centre(side))
