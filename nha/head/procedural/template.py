"""The neutral head: skin, left and right eyeball, and the triangles that close the mouth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nha.head.procedural.patches import EYE_CENTRE, EYE_RADIUS
from nha.head.procedural.topology import SkinMesh, build_skin

ORIGIN_METRES = np.array([0.0, 1.5, 0.0])
_EYEBALL_RINGS = 15
_EYEBALL_POINTS = 24


@dataclass(frozen=True)
class Template:
    """The neutral head in sculpting coordinates.

    Attributes:
        vertices: [V, 3] mm: the skin, the left eyeball, the right eyeball. An eyeball starts at the front pole,
            continues with rings from front to back and ends with the back pole.
        faces: [F, 3] without the faces that close the mouth.
        mouth_faces: [M, 3], the faces that close the mouth.
        mirror: [V], the corresponding vertex on the other side.
        n_skin: the number of vertices of the skin.
        n_eyeball: the number of vertices of each eyeball.
        skin: the rings by name.
    """

    vertices: np.ndarray
    faces: np.ndarray
    mouth_faces: np.ndarray
    mirror: np.ndarray
    n_skin: int
    n_eyeball: int
    skin: SkinMesh

    def eyeball(self, side: str) -> np.ndarray:
        """The vertex ids of the "left" or "right" eyeball."""
        start = self.n_skin + (self.n_eyeball if side == "right" else 0)
        return np.arange(start, start + self.n_eyeball)

    def eye_rings(self, side: str) -> np.ndarray:
        """The ring vertex ids [13, 32] of one eye, from the outer corner over the top."""
        return self.skin.eye_rings if side == "left" else self.mirror[self.skin.eye_rings]

    def ear_rings(self, side: str) -> np.ndarray:
        """The ring vertex ids [10, 32] of one ear."""
        return self.skin.ear_rings if side == "left" else self.mirror[self.skin.ear_rings]


def eye_centre(side: str) -> np.ndarray:
    """The centre [3] of one eyeball in sculpting coordinates."""
    return EYE_CENTRE * np.array([1.0 if side == "left" else -1.0, 1.0, 1.0])


def to_metres(points_mm: np.ndarray) -> np.ndarray:
    """Sculpting coordinates [..., 3] as metres in the head model's own frame."""
    return points_mm / 1000.0 + ORIGIN_METRES


def build_eyeball() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A ball around the origin: vertices [B, 3] mm, outward faces [G, 3], polar angle of each vertex [B]."""
    polar = np.concatenate(
        [
            [0.0],
            np.repeat(np.pi * np.arange(1, _EYEBALL_RINGS + 1) / (_EYEBALL_RINGS + 1), _EYEBALL_POINTS),
            [np.pi],
        ]
    )
    turn = 2 * np.pi * np.arange(_EYEBALL_POINTS) / _EYEBALL_POINTS
    azimuth = np.concatenate([[0.0], np.tile(turn, _EYEBALL_RINGS), [0.0]])
    vertices = EYE_RADIUS * np.stack(
        [np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)], -1
    )
    ring = 1 + np.arange(_EYEBALL_RINGS * _EYEBALL_POINTS).reshape(_EYEBALL_RINGS, _EYEBALL_POINTS)
    following = np.roll(ring, -1, axis=1)
    front = np.stack([np.zeros(_EYEBALL_POINTS, int), ring[0], following[0]], -1)
    back = np.stack([ring[-1], np.full(_EYEBALL_POINTS, len(vertices) - 1), following[-1]], -1)
    a, b, c, d = (v.ravel() for v in (ring[:-1], following[:-1], ring[1:], following[1:]))
    faces = np.concatenate([front, np.stack([a, c, d], -1), np.stack([a, d, b], -1), back])
    return vertices, faces, polar


def build_template() -> Template:
    """Build the neutral head; deterministic."""
    skin = build_skin()
    ball, ball_faces, _ = build_eyeball()
    flip = np.array([-1.0, 1.0, 1.0])
    n_skin, n_ball = len(skin.vertices), len(ball)
    left_ids = n_skin + np.arange(n_ball)
    return Template(
        vertices=np.concatenate([skin.vertices, ball + EYE_CENTRE, (ball + EYE_CENTRE) * flip]),
        faces=np.concatenate([skin.faces, ball_faces + n_skin, ball_faces[:, ::-1] + n_skin + n_ball]),
        mouth_faces=skin.mouth_faces,
        mirror=np.concatenate([skin.mirror, left_ids + n_ball, left_ids]),
        n_skin=n_skin,
        n_eyeball=n_ball,
        skin=skin,
    )
