"""UV charts of surfaces: discs by Tutte embedding, eyeballs by their polar angle.

In a Tutte embedding every inner point is a positive average of its neighbours and the border lies on a convex
curve, so triangles cannot fold over. The weights are mean value coordinates (Floater 2003), which are then adapted
a few times to the remaining stretch (Yoshizawa et al. 2004). This gives face and ears enough area.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix, diags
from scipy.sparse.linalg import spsolve

EYE_CHART_RADIUS = 0.062
EYE_CHART_CENTRE = {"left": np.array([0.932, 0.932]), "right": np.array([0.068, 0.932])}
_STRETCH_STEPS = 8


def triangle_areas(points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Areas [F] of triangles, signed in 2D (clockwise is negative). points: [V, 2 or 3]; faces: [F, 3]."""
    a, b = points[faces[:, 1]] - points[faces[:, 0]], points[faces[:, 2]] - points[faces[:, 0]]
    return (
        0.5 * np.linalg.norm(np.cross(a, b), axis=-1)
        if points.shape[1] == 3
        else 0.5 * (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])
    )


def _mean_value_weights(points: np.ndarray, faces: np.ndarray) -> csr_matrix:
    rows, columns, values = [], [], []
    for k in range(3):
        i, j, m = faces[:, k], faces[:, (k + 1) % 3], faces[:, (k + 2) % 3]
        a, b = points[j] - points[i], points[m] - points[i]
        la, lb = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
        cos = np.clip((a * b).sum(1) / (la * lb), -0.99, 0.99)
        half_tangent = np.sqrt((1 - cos) / (1 + cos))
        rows += [i, i]
        columns += [j, m]
        values += [half_tangent / la, half_tangent / lb]
    return csr_matrix(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=(len(points),) * 2
    )


def flatten_disc(
    points: np.ndarray, faces: np.ndarray, border: np.ndarray, border_uv: np.ndarray, wanted: np.ndarray
) -> np.ndarray:
    """Flatten a surface with one border loop.

    Args:
        points: [T, 3].
        faces: [F, 3] ids of points.
        border: [B] ids of the points on the loop, in order.
        border_uv: [B, 2] their UVs on a convex curve.
        wanted: [F] desired relative areas of the faces.

    Returns:
        UVs [T, 2].
    """
    count = len(points)
    inner = np.setdiff1d(np.arange(count), border)
    weights = _mean_value_weights(points, faces)
    uv = np.zeros((count, 2))
    uv[border] = border_uv
    for _ in range(_STRETCH_STEPS):
        rows = diags(1.0 / np.asarray(weights.sum(1)).ravel()) @ weights
        system = diags(np.ones(len(inner))) - rows[inner][:, inner]
        uv[inner] = spsolve(system.tocsc(), rows[inner][:, border] @ border_uv)
        ratio = wanted / np.maximum(triangle_areas(uv, faces), 1e-12)
        total, degree = np.zeros(count), np.zeros(count)
        for k in range(3):
            np.add.at(total, faces[:, k], ratio)
            np.add.at(degree, faces[:, k], 1.0)
        stretch = np.sqrt(total / np.maximum(degree, 1.0))
        stretch = np.clip(stretch / np.median(stretch), 0.2, 5.0) ** 0.6
        weights = weights @ diags(1.0 / stretch)
    return uv


def arch_border(points: np.ndarray, n_bottom: int, n_side: int) -> np.ndarray:
    """UVs of the border of a head cut open at the back: the neck on the bottom edge, both sides of the seam on an arch.

    Args:
        points: [B, 3], the border from the bottom's left end to its right end, up one side of the seam and down the
            other.
        n_bottom: the number of points on the bottom edge.
        n_side: the number of steps on each side of the seam.

    Returns:
        [B, 2] in 0..1.
    """
    step = np.linalg.norm(np.diff(points, axis=0, append=points[:1]), axis=1)

    def share(part: np.ndarray) -> np.ndarray:
        return np.concatenate([[0.0], np.cumsum(part)]) / part.sum()

    bottom = share(step[: n_bottom - 1])
    s = np.linspace(0, 1, 4001)
    turn = np.clip((s - 0.22) / 0.78, 0, 1) * np.pi / 2
    side = np.stack(
        [
            0.48 * np.cos(turn) ** (2 / 2.3),
            0.02 + 0.34 * np.clip(s / 0.22, 0, 1) + 0.62 * np.sin(turn) ** (2 / 2.3),
        ],
        -1,
    )
    arc = share(np.linalg.norm(np.diff(side, axis=0), axis=1))
    climb = share(step[n_bottom - 1 : n_bottom - 1 + n_side])
    up = np.stack([np.interp(climb, arc, side[:, k]) for k in (0, 1)], -1)
    return np.concatenate(
        [
            np.stack([0.02 + 0.96 * bottom, np.full(n_bottom, 0.02)], -1),
            up[1:] + np.array([0.5, 0.0]),
            (up[-2:0:-1] * np.array([-1.0, 1.0])) + np.array([0.5, 0.0]),
        ]
    )


def ball_chart(
    polar_rad: np.ndarray, azimuth_rad: np.ndarray, faces: np.ndarray, pole: int, side: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Flatten an eyeball to a disc around its front pole, opened at the back pole.

    Args:
        polar_rad: [B] angle between a vertex and the front.
        azimuth_rad: [B] angle about the axis to the front.
        faces: [G, 3], counter-clockwise in the chart.
        pole: the vertex at the back. Each face at it gets a UV point of its own.
        side: "left" or "right", the place of the disc on the UV map.

    Returns:
        UVs [U, 2], faces into them [G, 3] and the vertex of each UV point [U].
    """
    centre, count = EYE_CHART_CENTRE[side], len(polar_rad)
    # The exponent enlarges the front with the iris.
    share = (polar_rad / np.pi) ** 0.62
    direction = np.stack([np.cos(azimuth_rad), np.sin(azimuth_rad)], -1)
    uv = centre + EYE_CHART_RADIUS * share[:, None] * direction
    faces = faces.copy()
    extra = []
    for k, face in enumerate(np.flatnonzero((faces == pole).any(1))):
        others = faces[face][faces[face] != pole]
        middle = uv[others].mean(0) - centre
        extra.append(centre + middle / np.linalg.norm(middle) * EYE_CHART_RADIUS)
        # The first face at the pole keeps the pole's UV point, the others get new ones.
        faces[face, faces[face] == pole] = pole if k == 0 else count + k - 1
    uv[pole] = extra[0]
    vertex = np.concatenate([np.arange(count), np.full(len(extra) - 1, pole)])
    return np.concatenate([uv, np.array(extra[1:])]), faces, vertex
