"""Patches of the left half of the skin: eyelids, lips and the ear as rings around the openings.

A patch is an array [rings, points, 3] in sculpting coordinates (mm). Ring 0 lies on the implicit skin, where the patch
joins the rest of the mesh. Rings of the half mouth run from the upper midline over the left corner to the lower
midline; those of eye and ear are closed loops.
"""

from __future__ import annotations

import numpy as np
from scipy.interpolate import CubicSpline

from nha.head.procedural.sculpt import project_along_rays, skin_from_front, smooth_step

EYE_CENTRE = np.array([31.5, 25.0, 38.5])
EYE_RADIUS = 12.2
EYE_POINTS = 32
EYE_RIM_RING = 6  # the last ring on the outside of the lids; the following ones are in the socket
MOUTH_HALF_STEPS = 20
LIP_RINGS = (2, 3, 4, 5, 6)  # from the border of the red of the lips to the line where they touch
LIP_CONTACT_RING = 6
EAR_POINTS = 32


def _smooth_max(a: np.ndarray, b: np.ndarray, blend: float) -> np.ndarray:
    return 0.5 * (a + b + np.sqrt((a - b) ** 2 + blend**2))


def lid_support(dx: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """The z of a lid in mm in front of the eye's centre at (dx, dy) mm from the centre.

    Over the eyeball a lid follows the ball with a small gap. Towards the corners it continues on a plane that
    leans back on the outer side, like the orbit.
    """
    radius = EYE_RADIUS + 0.45
    rho = np.hypot(dx, dy)
    bend = 0.8 * radius
    ball = np.where(
        rho < bend,
        np.sqrt(np.maximum(radius**2 - np.minimum(rho, bend) ** 2, 0.0)),
        0.6 * radius - (rho - bend) * 0.8 / 0.6,
    )
    return _smooth_max(ball, 4.6 - 0.27 * dx, 1.5)


def _eye_opening(phi: np.ndarray) -> np.ndarray:
    """The outline of the open lids [M, 2] in mm from the eye's centre; phi = 0 is the outer corner."""
    cos, sin = np.cos(phi), np.sin(phi)
    x = np.where(cos > 0, 13.4, 12.6) * cos - 0.9 * sin
    height = np.where(sin > 0, 4.6, 4.0)
    y = np.sign(sin) * height * np.abs(sin) ** 1.15
    return np.stack([x, y + 0.045 * x - 0.4], -1)


def eye_patch() -> np.ndarray:
    """The left eye's rings [13, 32, 3]: 7 over the lids to their rim, 5 down the socket, 1 its end."""
    phi = 2 * np.pi * np.arange(EYE_POINTS) / EYE_POINTS
    opening = _eye_opening(phi)
    outer = np.stack([0.8 + 20.0 * np.cos(phi), 1.2 + 14.2 * np.sin(phi)], -1)
    rings = []
    for t in (1.0, 0.74, 0.53, 0.36, 0.22, 0.10, 0.0):
        flat = opening + t * (outer - opening)
        skin = skin_from_front(EYE_CENTRE[0] + flat[:, 0], EYE_CENTRE[1] + flat[:, 1])
        thickness = 0.25 + 1.15 * smooth_step(np.array(t), 0.0, 0.1)
        upper = np.clip(np.sin(phi), 0, 1)
        crease = -1.3 * upper * np.exp(-(((t - 0.42) / 0.13) ** 2))
        lid = EYE_CENTRE[2] + lid_support(flat[:, 0], flat[:, 1]) + thickness
        blend = smooth_step(np.array(t), 0.16, 1.0)
        z = (1 - blend) * lid + blend * skin[:, 2] + crease
        rings.append(np.stack([skin[:, 0], skin[:, 1], z], -1))
    return np.stack(rings + _socket_rings(rings[-1], phi))


def _socket_rings(rim: np.ndarray, phi: np.ndarray) -> list[np.ndarray]:
    arm = rim - EYE_CENTRE
    radius = np.linalg.norm(arm, axis=-1)
    polar = np.arccos(arm[:, 2] / radius)
    azimuth = np.arctan2(arm[:, 1], arm[:, 0])
    rings = []
    for share, end in ((0.3, 82.0), (0.65, 82.0), (1.0, 82.0), (1.0, 120.0), (1.0, 155.0), (1.0, 172.0)):
        angle = polar + share * (np.radians(end) - polar)
        length = radius + min(2.0 * share, 1.0) * (EYE_RADIUS + 0.9 - radius)
        # Points are dense at the corners of the narrow opening and evenly spaced at the bottom of the socket.
        even = np.clip((end - 75.0) / 30.0, 0.0, 1.0) * share
        turn = azimuth + even * ((phi - azimuth + np.pi) % (2 * np.pi) - np.pi)
        direction = np.stack([np.sin(angle) * np.cos(turn), np.sin(angle) * np.sin(turn), np.cos(angle)], -1)
        rings.append(EYE_CENTRE + length[:, None] * direction)
    return rings


# Per ring: half width, height above and below the lip line, bulge of the upper and lower lip off the skin (mm).
_MOUTH_RINGS = (
    (33.0, 12.5, 15.5, 0.0, 0.0),
    (28.6, 10.0, 12.2, -0.3, -0.5),
    (25.8, 8.0, 9.8, 0.3, 0.0),
    (25.1, 6.6, 8.2, 1.4, 1.5),
    (24.4, 4.0, 5.2, 2.9, 3.6),
    (23.7, 1.6, 2.1, 2.4, 2.8),
    (22.9, 0.28, 0.28, -0.6, -0.4),
    (23.0, 2.0, 2.0, -4.0, -4.0),
    (23.6, 5.5, 5.5, -7.5, -7.5),
    (25.0, 8.5, 8.5, -12.0, -12.0),
)


def mouth_patch() -> np.ndarray:
    """The left half of the lips [10, 21, 3]: skin, red of the lips, lip line, then the inner mouth."""
    phi = np.pi * np.arange(MOUTH_HALF_STEPS + 1) / MOUTH_HALF_STEPS
    sin, cos = np.sin(phi), np.cos(phi)
    sin[[0, -1]] = 0.0
    rings = []
    for number, (width, above, below, bulge_up, bulge_low) in enumerate(_MOUTH_RINGS):
        x = width * sin
        line = -39.0 - 0.7 * np.exp(-((x / 7.0) ** 2)) + 0.5 * (x / 24.0) ** 2
        bow = 1 + 0.13 * np.exp(-(((x - 5.5) / 3.5) ** 2)) - 0.08 * np.exp(-((x / 2.5) ** 2))
        fullness = np.abs(cos) ** 0.85
        height = np.where(cos > 0, above * (bow if number in (2, 3) else 1.0), -below) * fullness
        y = line + height
        bulge = np.where(cos > 0, bulge_up, bulge_low)
        if number <= LIP_CONTACT_RING:
            corner = -1.5 * np.exp(-((cos / 0.3) ** 2)) * min(max(number - 1, 0) / 3.0, 1.0)
            bulge = bulge * np.abs(cos) ** 0.6 + corner
            base = skin_from_front(x, y)[:, 2]
        else:
            base = skin_from_front(x, line)[:, 2] - 0.8
        rings.append(np.stack([x, y, base + bulge], -1))
    return np.stack(rings)


# The ear by direction in its own plane (degrees; 0 the back, 90 the top, 180 the face, 270 the lobe): radius of
# the outline, radius of its root on the head, height of the rim over the head (mm), and how far the rim folds.
_EAR_OUTLINE = np.array(
    [
        (0, 19.5, 9.0, 15.5, 1.0),
        (30, 22.5, 11.0, 16.0, 1.0),
        (60, 28.0, 17.0, 15.0, 1.0),
        (90, 31.0, 24.0, 11.5, 1.0),
        (115, 29.0, 25.5, 7.5, 0.9),
        (140, 21.5, 22.0, 3.5, 0.55),
        (165, 14.5, 16.5, 1.2, 0.1),
        (190, 12.5, 14.5, 1.2, 0.0),
        (215, 13.5, 15.0, 1.6, 0.0),
        (240, 19.0, 18.0, 2.6, 0.0),
        (262, 27.0, 21.0, 3.0, 0.0),
        (282, 29.0, 19.0, 4.2, 0.1),
        (305, 26.0, 13.0, 7.2, 0.35),
        (332, 21.0, 9.5, 13.0, 0.8),
        (360, 19.5, 9.0, 15.5, 1.0),
    ]
)


def ear_patch() -> np.ndarray:
    """The left ear [10, 32, 3]: root on the head, back, rim, helix, groove, antihelix, concha."""
    phi = 2 * np.pi * np.arange(EAR_POINTS) / EAR_POINTS
    shape = CubicSpline(_EAR_OUTLINE[:, 0], _EAR_OUTLINE[:, 1:], bc_type="periodic")(np.degrees(phi))
    outline, root, lift, fold = shape.T
    fold = np.clip(fold, 0.0, 1.0)
    towards = np.stack([np.cos(phi), np.sin(phi)], -1)  # (rear, up)
    hub = np.array([-4.5, -3.5])  # the centre of the concha, shifted towards the face like the ear canal
    rim = outline[:, None] * towards
    tragus = 5.0 * np.exp(-(((phi - np.radians(192)) / 0.42) ** 2))

    def ring(flat: np.ndarray, height: np.ndarray) -> np.ndarray:
        return _over_the_head(flat) + height[:, None] * _EAR_OUT

    def inside(shrink: float, height: np.ndarray) -> np.ndarray:
        return ring(hub + shrink * (rim - hub), height)

    flat_root = root[:, None] * towards
    return np.stack(
        [
            ring(flat_root, np.zeros(EAR_POINTS)),
            ring(flat_root + 0.55 * (rim - flat_root), 0.42 * lift - 1.0 * fold),
            ring(rim, lift - 0.8 * fold),
            inside(0.985, lift + 1.0 * fold + 0.3),
            inside(0.91, lift + 1.5 * fold + 0.4 + 0.3 * tragus),
            inside(0.83, lift - 2.6 * fold + 0.5 + 0.8 * tragus),
            inside(0.70, lift - 1.2 * fold + 0.5 + tragus),
            inside(0.58, 0.92 * lift + 0.4 * fold + 0.4 + 0.7 * tragus),
            inside(0.45, 0.45 * lift + 1.0),
            inside(0.22, 0.15 * lift + 0.8),
        ]
    )


_EAR_CENTRE = np.array([0.0, -2.0, -30.0])
_EAR_OUT = np.array([0.94, 0.03, -0.34])
_EAR_LEAN = np.radians(9.0)


def _over_the_head(flat: np.ndarray) -> np.ndarray:
    """The skin [M, 3] beside the points (rear, up) [M, 2] of the ear's plane, in mm."""
    rear, up = flat.T
    y = _EAR_CENTRE[1] + np.cos(_EAR_LEAN) * up - np.sin(_EAR_LEAN) * rear
    z = _EAR_CENTRE[2] - np.cos(_EAR_LEAN) * rear - np.sin(_EAR_LEAN) * up
    start = np.stack([np.zeros_like(y), y, z], -1)
    return project_along_rays(start, np.tile([1.0, 0.0, 0.0], (len(y), 1)), 0.0, 140.0)
