"""UV charts: the skin cut open at the back and flattened by convex combinations, two eyeball discs, the mouth.

A Tutte embedding (every inner point a positive average of its neighbours, the border on a convex curve)
cannot fold over. The weights are mean value coordinates (Floater 2003), then changed a few times by the
stretch they left (Yoshizawa et al. 2004), which gives face and ears the room they need.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix, diags
from scipy.sparse.linalg import spsolve

from nha.head.procedural.regions import face_mask
from nha.head.procedural.sculpt import STAR_CENTRE
from nha.head.procedural.template import Template, build_eyeball
from nha.head.procedural.topology import NECK_HALF_STEPS

EYE_CHART_RADIUS = 0.062
_EYE_CHART_CENTRE = {"left": np.array([0.932, 0.932]), "right": np.array([0.068, 0.932])}
_SEAM_END_DEGREES = 112.0  # where the cut from the nape stops, from the forehead's direction over the crown
_STRETCH_STEPS = 8


@dataclass(frozen=True)
class UvMap:
    """uvs [T, 2] in 0..1, v up; uv_faces [F, 3] for the faces, mouth_uv_faces [M, 3] for the mouth faces.

    skin_vertex [T] is the vertex of each UV point. The mouth's points lie on a map of their own.
    """

    uvs: np.ndarray
    uv_faces: np.ndarray
    mouth_uv_faces: np.ndarray
    skin_vertex: np.ndarray


def _seam(template: Template) -> np.ndarray:
    """Return the vertices of the cut, from the bottom of the nape to the crown."""
    points, rings = template.vertices, template.skin
    taken = np.concatenate([rings.neck_rings.ravel(), rings.mouth_rings.ravel()])
    middle = np.setdiff1d(np.flatnonzero(points[: template.n_skin, 0] == 0.0), taken)
    arm = points[middle] - STAR_CENTRE
    angle = np.degrees(np.arctan2(arm[:, 1], arm[:, 2])) % 360.0
    behind = (angle > _SEAM_END_DEGREES) & (angle < 275.0)
    climb = middle[behind][np.argsort(-angle[behind])]
    return np.concatenate([rings.neck_rings[::-1, NECK_HALF_STEPS], climb])


def _cut_open(template: Template) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return skin faces with the seam doubled, each cut point's vertex, and the border loop (counter-clockwise)."""
    faces = template.faces[(template.faces < template.n_skin).all(1)].copy()
    seam = _seam(template)
    copies = template.n_skin + np.arange(len(seam) - 1)
    right = template.vertices[faces][:, :, 0].mean(1) < 0
    rename = np.arange(template.n_skin)
    rename[seam[:-1]] = copies
    faces[right] = rename[faces[right]]
    neck = template.skin.neck_rings[-1]
    n = NECK_HALF_STEPS
    # From the nape's left copy forward past the left shoulder and back on the right: decreasing u, hence reversed.
    bottom = np.concatenate([neck[n::-1], neck[:n:-1], copies[:1]])
    border = np.concatenate([bottom[::-1], seam[1:], copies[:0:-1]])
    return faces, np.concatenate([np.arange(template.n_skin), seam[:-1]]), border


def _border_positions(points: np.ndarray, n_bottom: int, n_side: int) -> np.ndarray:
    """Return UVs of the border: the neck on the bottom edge, the seam's two sides over an arch."""
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


def _area(points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    a, b = points[faces[:, 1]] - points[faces[:, 0]], points[faces[:, 2]] - points[faces[:, 0]]
    return (
        0.5 * np.linalg.norm(np.cross(a, b), axis=-1)
        if points.shape[1] == 3
        else 0.5 * (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])
    )


def _flatten(
    points: np.ndarray, faces: np.ndarray, border: np.ndarray, border_uv: np.ndarray, wanted: np.ndarray
) -> np.ndarray:
    """Return UVs [T, 2] of a disc; `wanted` [F] is the area each face should get, in any unit."""
    count = len(points)
    inner = np.setdiff1d(np.arange(count), border)
    weights = _mean_value_weights(points, faces)
    uv = np.zeros((count, 2))
    uv[border] = border_uv
    for _ in range(_STRETCH_STEPS):
        rows = diags(1.0 / np.asarray(weights.sum(1)).ravel()) @ weights
        system = diags(np.ones(len(inner))) - rows[inner][:, inner]
        uv[inner] = spsolve(system.tocsc(), rows[inner][:, border] @ border_uv)
        ratio = wanted / np.maximum(_area(uv, faces), 1e-12)
        total, degree = np.zeros(count), np.zeros(count)
        for k in range(3):
            np.add.at(total, faces[:, k], ratio)
            np.add.at(degree, faces[:, k], 1.0)
        stretch = np.sqrt(total / np.maximum(degree, 1.0))
        stretch = np.clip(stretch / np.median(stretch), 0.2, 5.0) ** 0.6
        weights = weights @ diags(1.0 / stretch)
    return uv


def _skin_chart(template: Template) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    faces, vertex, border = _cut_open(template)
    points = template.vertices[vertex]
    rim = template.skin.mouth_rings[-1]
    hub = len(points)  # a helper point closes the mouth, so that the chart is a disc
    cap = np.stack([rim, np.roll(rim, -1), np.full(len(rim), hub)], -1)
    points = np.concatenate([points, points[rim].mean(0, keepdims=True) - np.array([[0.0, 0.0, 4.0]])])
    disc = np.concatenate([faces, cap[:, ::-1]])
    importance = np.where(face_mask(points), 2.2, 1.0)
    for side in ("left", "right"):
        importance[template.ear_rings(side)] = 1.0
        importance[template.eye_rings(side)[:8]] = 3.0
        importance[template.eye_rings(side)[9:]] = 0.25
    importance[template.skin.mouth_rings[:7]] = 3.0
    importance[template.skin.mouth_rings[8:]] = 0.4
    importance[hub] = 0.2
    importance[template.skin.neck_rings[2:]] = 0.6
    wanted = _area(points, disc) * importance[disc].mean(1)
    n_seam = len(vertex) - template.n_skin
    n_bottom = 2 * NECK_HALF_STEPS + 1
    uv = _flatten(points, disc, border, _border_positions(points[border], n_bottom, n_seam), wanted)
    return uv[:-1], faces, vertex


def _radial_share(polar: np.ndarray) -> np.ndarray:
    # The front, where the iris is, gets most of the small disc.
    return (polar / np.pi) ** 0.62


def _eye_chart(template: Template, side: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a disc chart of one eyeball: UVs, faces into them, vertex of each UV; the back pole is opened."""
    ball, faces, polar = build_eyeball()
    centre, start = _EYE_CHART_CENTRE[side], int(template.eyeball(side)[0])
    azimuth = np.arctan2(ball[:, 1], ball[:, 0])
    if side == "right":
        faces = faces[:, ::-1]
        azimuth = np.pi - azimuth
    uv = centre + EYE_CHART_RADIUS * _radial_share(polar)[:, None] * np.stack(
        [np.cos(azimuth), np.sin(azimuth)], -1
    )
    pole = len(ball) - 1
    faces = faces.copy()
    back = np.flatnonzero((faces == pole).any(1))
    extra = []
    for k, face in enumerate(back):
        others = faces[face][faces[face] != pole]
        middle = uv[others].mean(0) - centre
        extra.append(centre + middle / np.linalg.norm(middle) * EYE_CHART_RADIUS)
        # The first of the fan keeps the pole's own UV entry, the others get one each.
        faces[face, faces[face] == pole] = pole if k == 0 else len(ball) + k - 1
    uv[pole] = extra[0]
    vertex = np.concatenate([start + np.arange(len(ball)), np.full(len(extra) - 1, start + pole)])
    return np.concatenate([uv, np.array(extra[1:])]), faces, vertex


def build_uv_map(template: Template) -> UvMap:
    """Unwrap the head; charts do not overlap, the mouth's faces have a map of their own (0.05..0.95)."""
    uv, faces, vertex = _skin_chart(template)
    all_uv, all_faces, all_vertex = [uv], [faces], [vertex]
    offset = len(uv)
    for side in ("left", "right"):
        uv, faces, vertex = _eye_chart(template, side)
        all_uv.append(uv)
        all_faces.append(faces + offset)
        all_vertex.append(vertex)
        offset += len(uv)
    loop = np.unique(template.mouth_faces)
    # The closed lips are a slit; for the map their two edges are opened to an ellipse.
    order = template.skin.mouth_rings[6]
    angle = 2 * np.pi * np.arange(len(order)) / len(order)
    flat = {
        v: np.array([0.5 + 0.45 * np.sin(a), 0.5 + 0.45 * np.cos(a)])
        for v, a in zip(order, angle, strict=True)
    }
    all_uv.append(np.stack([flat[v] for v in loop]))
    all_vertex.append(loop)
    mouth_uv_faces = offset + np.searchsorted(loop, template.mouth_faces)
    return UvMap(
        np.concatenate(all_uv), np.concatenate(all_faces), mouth_uv_faces, np.concatenate(all_vertex)
    )
