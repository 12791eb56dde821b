"""The 68 iBUG landmarks and two irises as triangles with barycentric coordinates."""

from __future__ import annotations

import numpy as np

from nha.head.procedural.patches import LIP_CONTACT_RING
from nha.head.procedural.sculpt import project_along_rays, skin_from_front
from nha.head.procedural.template import Template

_JAW_ANCHOR = np.array([0.0, -20.0, -14.0])
# The left jaw line from ear to chin: (x, y, z) in mm, projected onto the skin.
_JAW_TARGETS = np.array(
    [
        (72, 17, -14),
        (71, -2, -15),
        (69, -22, -15),
        (65, -40, -9),
        (57, -55, 4),
        (46, -67, 22),
        (33, -77, 38),
        (17, -84, 52),
        (0, -87, 57),
    ],
    float,
)
_BROW_XY = np.array([(9.5, 42.5), (22.0, 47.0), (36.0, 48.5), (49.0, 45.0), (58.0, 36.0)])
_NOSE_XY = np.array([(0, 29.0), (0, 19.5), (0, 10.0), (0, 0.0)])
_NOSTRIL_XY = np.array([(12.5, -13.0), (6.5, -15.5), (0.0, -17.0)])
_EYE_RING = 5  # the outer edge of the lid's rim
_EYE_INDICES = (16, 10, 6, 0, 26, 22)  # inner corner, over the top to the outer corner, back below
_LIP_BORDER_RING = 2


def _closest_on_triangles(point: np.ndarray, corners: np.ndarray) -> tuple[int, np.ndarray]:
    """The id of the triangle [M, 3, 3] closest to a point [3], and barycentric coordinates of its closest point."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    u, v, w = b - a, c - a, point - a
    uu, uv, vv = (u * u).sum(1), (u * v).sum(1), (v * v).sum(1)
    wu, wv = (w * u).sum(1), (w * v).sum(1)
    scale = np.maximum(uu * vv - uv * uv, 1e-12)
    bary = np.stack(
        [
            1 - (vv * wu - uv * wv + uu * wv - uv * wu) / scale,
            (vv * wu - uv * wv) / scale,
            (uu * wv - uv * wu) / scale,
        ],
        -1,
    )
    bary = np.clip(bary, 0.0, None)  # exact for points inside a triangle, an approximation outside
    bary /= bary.sum(1, keepdims=True)
    distance = np.linalg.norm(np.einsum("mk,mkc->mc", bary, corners) - point, axis=1)
    best = int(distance.argmin())
    return best, bary[best]


def _left_targets(template: Template) -> dict[int, tuple[np.ndarray, np.ndarray | None]]:
    """Target point [3] in mm, and the vertices it must lie near, for iBUG ids of the left side and the midline."""
    points, rings = template.vertices, template.skin
    targets: dict[int, tuple[np.ndarray, np.ndarray | None]] = {}
    directions = _JAW_TARGETS - _JAW_ANCHOR
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    for i, p in enumerate(project_along_rays(_JAW_ANCHOR, directions, 5.0, 160.0)):
        targets[16 - i] = (p, None)
    for i, p in enumerate(skin_from_front(*_BROW_XY.T)):
        targets[22 + i] = (p, None)
    for i, p in enumerate(skin_from_front(*_NOSE_XY.T)):
        targets[27 + i] = (p, None)
    for i, p in enumerate(skin_from_front(*_NOSTRIL_XY.T)):
        targets[35 - i] = (p, None)
    for i, index in enumerate(_EYE_INDICES):
        vertex = rings.eye_rings[_EYE_RING, index]
        targets[42 + i] = (points[vertex], np.array([vertex]))

    def on_loop(ring: int, position: float) -> tuple[np.ndarray, np.ndarray]:
        low = int(position)
        ids = rings.mouth_rings[ring, [low, low + 1]]
        return (1 - position + low) * points[ids[0]] + (position - low) * points[ids[1]], ids

    for name, position in ((51, 0), (52, 1.5), (53, 4.3), (54, 10), (55, 15.5), (56, 18.4), (57, 20)):
        targets[name] = on_loop(_LIP_BORDER_RING, position)
    for name, position in ((62, 0), (63, 1.7), (64, 10), (65, 18.3), (66, 20)):
        targets[name] = on_loop(LIP_CONTACT_RING, position)
    return targets


_MIRROR_ID = {22 + i: 21 - i for i in range(5)} | {16 - i: i for i in range(8)}
_MIRROR_ID |= {35: 31, 34: 32, 42: 39, 43: 38, 44: 37, 45: 36, 46: 41, 47: 40}
_MIRROR_ID |= {52: 50, 53: 49, 54: 48, 55: 59, 56: 58, 63: 61, 64: 60, 65: 67}


def build_landmarks(template: Template) -> tuple[np.ndarray, np.ndarray]:
    """Landmark faces [70] (int64, ids in the list without mouth faces) and barycentrics [70, 3]."""
    points, faces = template.vertices, template.faces
    skin_faces = np.flatnonzero((faces < template.n_skin).all(1))
    centroid = points[faces].mean(1)
    face_of_corners = {tuple(sorted(f)): i for i, f in enumerate(faces.tolist())}
    landmark_faces, bary = np.zeros(70, np.int64), np.zeros((70, 3))

    def put(landmark: int, face: int, weights: dict[int, float]) -> None:
        landmark_faces[landmark] = face
        bary[landmark] = [weights[v] for v in faces[face]]

    for landmark, (target, near) in _left_targets(template).items():
        candidates = skin_faces[np.linalg.norm(centroid[skin_faces] - target, axis=1) < 12.0]
        if near is not None:
            candidates = skin_faces[np.isin(faces[skin_faces], near).sum(1) == min(len(near), 2)]
        best, weights = _closest_on_triangles(target, points[faces[candidates]])
        face = candidates[best]
        put(landmark, face, dict(zip(faces[face], weights, strict=True)))
        if landmark in _MIRROR_ID:
            corners = template.mirror[faces[face]]
            other = face_of_corners[tuple(sorted(corners.tolist()))]
            put(_MIRROR_ID[landmark], other, dict(zip(corners, weights, strict=True)))
    for landmark, side in ((68, "right"), (69, "left")):
        pole = template.eyeball(side)[0]
        face = int(np.flatnonzero((faces == pole).any(1))[0])
        put(landmark, face, {v: float(v == pole) for v in faces[face]})
    return landmark_faces, bary
