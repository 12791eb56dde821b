"""Ring patches of the left half: lids around the eye opening, lips around the mouth opening, the ear.

A patch is an array [rings, points, 3] in sculpting coordinates (mm). Ring 0 lies on the implicit skin and
is where the patch is sewn into the rest of the skin. The half mouth runs from the upper midline by way of
the left corner to the lower midline; eye and ear rings are closed loops.
"""

from __future__ import annotations

import numpy as np

from nha.head.procedural.sculpt import project_along_rays, skin_from_front

EYE_CENTRE = np.array([31.5, 25.0, 38.5])
EYE_RADIUS = 12.2
EYE_POINTS = 32
EYE_RIM_RING = 6  # the last ring on the outside of the lids; the next ones line the socket
MOUTH_HALF_STEPS = 20
LIP_RINGS = (2, 3, 4, 5, 6)  # from the border of the red of the lips to the line where they touch
LIP_CONTACT_RING = 6
EAR_POINTS = 28


def _smooth_step(x: np.ndarray, low: float, high: float) -> np.ndarray:
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def _smooth_max(a: np.ndarray, b: np.ndarray, blend: float) -> np.ndarray:
    return 0.5 * (a + b + np.sqrt((a - b) ** 2 + blend**2))


def lid_support(dx: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """Return how far in front of the eye's centre (mm) a lid passes at (dx, dy) mm from the centre.

    Over the eyeball it follows the ball with a small gap; towards the corners it continues on a plane that
    leans back to the outside, as the orbit does.
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
    """Return the almond of the open lids [M, 2], mm from the eye's centre; phi 0 is the outer corner."""
    cos, sin = np.cos(phi), np.sin(phi)
    x = np.where(cos > 0, 13.4, 12.6) * cos - 0.9 * sin
    height = np.where(sin > 0, 4.9, 4.4)
    y = np.sign(sin) * height * np.abs(sin) ** 1.15
    return np.stack([x, y + 0.045 * x - 0.4], -1)


def eye_patch() -> np.ndarray:
    """Return the left eye's rings [13, 32, 3]: 7 over the lids to their rim, 5 down the socket, 1 its end."""
    phi = 2 * np.pi * np.arange(EYE_POINTS) / EYE_POINTS
    opening = _eye_opening(phi)
    outer = np.stack([0.8 + 20.0 * np.cos(phi), 1.2 + 14.2 * np.sin(phi)], -1)
    rings = []
    for t in (1.0, 0.74, 0.53, 0.36, 0.22, 0.10, 0.0):
        flat = opening + t * (outer - opening)
        skin = skin_from_front(EYE_CENTRE[0] + flat[:, 0], EYE_CENTRE[1] + flat[:, 1])
        thickness = 0.25 + 1.15 * _smooth_step(np.array(t), 0.0, 0.1)
        upper = np.clip(np.sin(phi), 0, 1)
        crease = -1.3 * upper * np.exp(-(((t - 0.42) / 0.13) ** 2))
        lid = EYE_CENTRE[2] + lid_support(flat[:, 0], flat[:, 1]) + thickness
        blend = _smooth_step(np.array(t), 0.16, 1.0)
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
        direction = np.stack(
            [np.sin(angle) * np.cos(azimuth), np.sin(angle) * np.sin(azimuth), np.cos(angle)], -1
        )
        rings.append(EYE_CENTRE + length[:, None] * direction)
    return rings


# Per ring: half width, height above and below the lip line, bulge of the upper and lower lip off the skin (mm).
_MOUTH_RINGS = (
    (33.0, 12.5, 15.5, 0.0, 0.0),
    (29.3, 10.0, 12.2, -0.3, -0.5),
    (27.0, 8.0, 9.8, 0.3, 0.0),
    (26.2, 6.6, 8.2, 1.4, 1.5),
    (25.4, 4.0, 5.2, 2.9, 3.6),
    (24.9, 1.6, 2.1, 2.4, 2.8),
    (24.5, 0.16, 0.16, -0.6, -0.4),
    (24.3, 2.0, 2.0, -4.0, -4.0),
    (24.8, 5.5, 5.5, -7.5, -7.5),
    (26.0, 8.5, 8.5, -12.0, -12.0),
)


def mouth_patch() -> np.ndarray:
    """Return the left half of the lips [10, 21, 3]: skin, red of the lips, lip line, then the inner mouth."""
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
            corner = -1.6 * np.exp(-((cos / 0.3) ** 2)) * (number > 0)
            bulge = bulge * np.abs(cos) ** 0.6 + corner
            base = skin_from_front(x, y)[:, 2]
        else:
            base = skin_from_front(x, line)[:, 2] - 0.8
        rings.append(np.stack([x, y, base + bulge], -1))
    return np.stack(rings)


def ear_patch() -> np.ndarray:
    """Return the left ear [9, 28, 3]: base on the head, back, rim, helix, groove, antihelix, concha."""
    phi = 2 * np.pi * np.arange(EAR_POINTS) / EAR_POINTS  # 0 is the back, a quarter turn later the top
    cos, sin = np.cos(phi), np.sin(phi)
    back, top, front, lobe = (np.clip(v, 0, 1) for v in (cos, sin, -cos, -sin))
    centre = np.array([0.0, -2.0, -30.0])
    out, up, rear = _ear_frame()
    base_flat = np.stack([np.where(cos > 0, 9.0, 12.0) * cos + 1.0 * sin, 25.0 * sin], -1)
    base_points = centre + base_flat[:, :1] * rear + base_flat[:, 1:] * up
    start = np.stack([np.zeros(EAR_POINTS), base_points[:, 1], base_points[:, 2]], -1)
    base = project_along_rays(start, np.tile([1.0, 0.0, 0.0], (EAR_POINTS, 1)), 0.0, 140.0)
    anchor = np.array([base[:, 0].mean(), centre[1], centre[2]])

    radius_rear = np.where(cos > 0, 21.5, 13.5) * (1 - 0.30 * lobe**2)
    rim_flat = np.stack([radius_rear * cos + 4.5 * sin, np.where(sin > 0, 32.0, 31.0) * sin - 1.0], -1)
    lift = 3.0 + 11.0 * back**0.8 + 8.0 * top**1.5 * (1 - front) + 3.0 * lobe**2 * (1 - front)
    rim = anchor + rim_flat[:, :1] * rear + rim_flat[:, 1:] * up + lift[:, None] * out
    folded = np.clip(back + top + 0.35 * lobe, 0, 1) * (1 - 0.75 * front**2)

    def inside(shrink: float, height: np.ndarray) -> np.ndarray:
        # The bowl's centre sits towards the front, above the lobe, as the ear canal does.
        hub = np.array([-4.0, -4.0])
        flat = hub + shrink * (rim_flat - hub)
        return anchor + flat[:, :1] * rear + flat[:, 1:] * up + (shrink * lift + height)[:, None] * out

    tragus = 4.0 * np.exp(-(((phi - np.pi * 1.06) / 0.35) ** 2))
    rings = [
        base,
        base + 0.62 * (rim - base) - (2.5 * folded)[:, None] * out,
        rim - (0.6 * folded)[:, None] * out,
        inside(0.985, 1.6 * folded + 0.4 * tragus),
        inside(0.90, 2.2 * folded + 0.8 + tragus),
        inside(0.79, -2.6 * folded + 1.0 + tragus),
        inside(0.62, 1.8 * folded + 0.5 + 0.6 * tragus),
        inside(0.44, -4.2 * folded - 1.5),
        inside(0.22, -5.0 * folded - 4.0),
    ]
    return np.stack(rings)


def _ear_frame() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return unit vectors of the ear's plane: away from the head, up, and to the rear edge."""
    flare, lean = np.radians(24.0), np.radians(9.0)
    rear = np.array([np.sin(flare), 0.0, -np.cos(flare)])
    up = np.array([0.0, np.cos(lean), 0.0]) + np.sin(lean) * np.array([0.0, 0.0, -1.0])
    up -= rear * (up @ rear)
    up /= np.linalg.norm(up)
    out = np.cross(rear, up)
    return out * np.sign(out[0]), up, rear
