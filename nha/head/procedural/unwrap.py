"""The UV map of the procedural head: the skin cut open at the back, two eyeball discs, the mouth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nha.head.flatten import arch_border, ball_chart, flatten_disc, triangle_areas
from nha.head.procedural.regions import face_mask
from nha.head.procedural.sculpt import STAR_CENTRE
from nha.head.procedural.template import Template, build_eyeball
from nha.head.procedural.topology import NECK_HALF_STEPS

_SEAM_END_DEGREES = (
    112.0  # end of the cut that starts at the nape, as an angle from the forehead over the crown
)


@dataclass(frozen=True)
class UvMap:
    """UV coordinates of the head and of the mouth, which has its own map.

    Attributes:
        uvs: [T, 2] in 0..1, v up.
        uv_faces: [F, 3] ids into `uvs` for the faces.
        mouth_uv_faces: [M, 3] ids into `uvs` for the mouth faces.
        skin_vertex: [T], the vertex of each UV point.
    """

    uvs: np.ndarray
    uv_faces: np.ndarray
    mouth_uv_faces: np.ndarray
    skin_vertex: np.ndarray


def _seam(template: Template) -> np.ndarray:
    """The vertices along the cut, from the bottom of the nape to the crown."""
    points, rings = template.vertices, template.skin
    taken = np.concatenate([rings.neck_rings.ravel(), rings.mouth_rings.ravel()])
    middle = np.setdiff1d(np.flatnonzero(points[: template.n_skin, 0] == 0.0), taken)
    arm = points[middle] - STAR_CENTRE
    angle = np.degrees(np.arctan2(arm[:, 1], arm[:, 2])) % 360.0
    behind = (angle > _SEAM_END_DEGREES) & (angle < 275.0)
    climb = middle[behind][np.argsort(-angle[behind])]
    return np.concatenate([rings.neck_rings[::-1, NECK_HALF_STEPS], climb])


def _cut_open(template: Template) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Skin faces with duplicate points along the seam, the vertex of each point, the border (counter-clockwise)."""
    faces = template.faces[(template.faces < template.n_skin).all(1)].copy()
    seam = _seam(template)
    copies = template.n_skin + np.arange(len(seam) - 1)
    right = template.vertices[faces][:, :, 0].mean(1) < 0
    rename = np.arange(template.n_skin)
    rename[seam[:-1]] = copies
    faces[right] = rename[faces[right]]
    neck = template.skin.neck_rings[-1]
    n = NECK_HALF_STEPS
    # From the left side of the nape over the front to its right side u decreases, hence the reversal.
    bottom = np.concatenate([neck[n::-1], neck[:n:-1], copies[:1]])
    border = np.concatenate([bottom[::-1], seam[1:], copies[:0:-1]])
    return faces, np.concatenate([np.arange(template.n_skin), seam[:-1]]), border


def _skin_chart(template: Template) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    faces, vertex, border = _cut_open(template)
    points = template.vertices[vertex]
    rim = template.skin.mouth_rings[-1]
    hub = len(points)  # an additional point closes the mouth, so that the chart is a disc
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
    wanted = triangle_areas(points, disc) * importance[disc].mean(1)
    n_seam = len(vertex) - template.n_skin
    n_bottom = 2 * NECK_HALF_STEPS + 1
    uv = flatten_disc(points, disc, border, arch_border(points[border], n_bottom, n_seam), wanted)
    return uv[:-1], faces, vertex


def _eye_chart(template: Template, side: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A disc chart of one eyeball: UVs, faces into them, vertex of each UV; the back pole is opened."""
    ball, faces, polar = build_eyeball()
    azimuth = np.arctan2(ball[:, 1], ball[:, 0])
    if side == "right":
        faces = faces[:, ::-1]
        azimuth = np.pi - azimuth
    uv, faces, vertex = ball_chart(polar, azimuth, faces, len(ball) - 1, side)
    return uv, faces, vertex + int(template.eyeball(side)[0])


def build_uv_map(template: Template) -> UvMap:
    """Unwrap the head into charts that do not overlap; the mouth faces have their own map (0.05..0.95)."""
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
    # The closed lips are a slit: the two edges become a circle on the map.
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
