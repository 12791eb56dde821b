"""How the lids travel over the eyeball, and where they meet."""

from __future__ import annotations

import numpy as np

from nha.head.procedural.patches import EYE_POINTS, EYE_RADIUS, EYE_RIM_RING, lid_support
from nha.head.procedural.template import Template, eye_centre

# How far each ring of the lids goes with the rim; ring 0 is the orbit, 6 the rim, 7 and on line the socket.
_SHARE_OF_RING = (0.0, 0.06, 0.26, 0.56, 0.84, 1.0, 1.0, 0.75, 0.3, 0.0, 0.0, 0.0, 0.0)
_UPPER_TRAVEL = 0.74  # the upper lid's part of the way


def lid_displacement(template: Template, side: str) -> np.ndarray:
    """Return the displacement [V, 3] in mm that closes one eye's lids."""
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
            # Same height over the eyeball as before, and a little more, for the straight path cuts the corner.
            lift = 0.7 * share * np.clip(np.abs(rim_move[:, 1]) / 6.0, 0, 1)
            end[:, 2] += lid_support(end[:, 0], end[:, 1]) - lid_support(start[:, 0], start[:, 1]) + lift
        else:
            radius = np.linalg.norm(start, axis=1)
            front = np.sqrt(np.maximum(radius**2 - end[:, 0] ** 2 - end[:, 1] ** 2, (0.3 * EYE_RADIUS) ** 2))
            end[:, 2] = np.where(share > 0, np.sign(start[:, 2]) * front, start[:, 2])
            end *= (np.maximum(radius, EYE_RADIUS + 0.6) / np.linalg.norm(end, axis=1))[:, None]
        field[rings[ring]] = (end - start) * flip
    return field
