"""The 24 named vertex sets of the head and the faces of the lower neck."""

from __future__ import annotations

import numpy as np

from nha.head.procedural.patches import EYE_RADIUS, LIP_CONTACT_RING
from nha.head.procedural.template import Template, eye_centre

SIDES = ("left", "right")


def _grow(selected: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """A vertex mask [V] grown by one ring of triangles."""
    grown = selected.copy()
    grown[faces[selected[faces].any(1)]] = True
    return grown


def face_mask(points: np.ndarray) -> np.ndarray:
    """Bool [V]: points [V, 3] (mm) on the face, from hairline to jaw line and in front of the ears."""
    x, y, z = points.T
    jaw_line = -88.0 + 0.50 * np.clip(52.0 - z, 0, None)
    hair_line = 92.0 - 0.0065 * x**2
    temple_line = -13.0 + 0.7 * np.clip(y - 42.0, 0, None)
    return (y > jaw_line) & (y < hair_line) & (z > temple_line)


def build_parts(template: Template) -> dict[str, np.ndarray]:
    """The parts in FLAME's mask file as sorted vertex ids (int64)."""
    points, n_skin = template.vertices, template.n_skin
    count = len(points)
    x, y, z = points.T
    is_skin = np.arange(count) < n_skin

    def mask(ids: np.ndarray) -> np.ndarray:
        out = np.zeros(count, bool)
        out[np.asarray(ids).ravel()] = True
        return out

    rings = template.skin
    masks: dict[str, np.ndarray] = {}
    inside = mask(rings.mouth_rings[7:])
    for side in SIDES:
        eye, ear = template.eye_rings(side), template.ear_rings(side)
        pole = _grow(mask(eye[-1]), template.faces) & is_skin
        ball = mask(template.eyeball(side))
        masks[f"{side}_ear"] = _grow(mask(ear), template.faces)
        masks[f"{side}_eye_lid"] = mask(eye[3:9])
        masks[f"{side}_eye_region"] = mask(eye[:9])
        masks[f"{side}_eyeball"] = ball
        masks[f"{side}_eyeball_front"] = ball & (z > eye_centre(side)[2] + 0.15 * EYE_RADIUS)
        masks[f"{side}_inner_eye_region"] = ball | mask(eye[1:9])
        inside |= mask(eye[9:]) | pole
    ears = masks["left_ear"] | masks["right_ear"]

    masks["face"] = face_mask(points) & is_skin & ~inside & ~ears
    masks["lips"] = mask(rings.mouth_rings[2:9])
    masks["mouthnlips"] = masks["lips"]
    masks["mouth"] = mask(rings.mouth_rings[LIP_CONTACT_RING])
    masks["face"] |= masks["lips"] | masks["left_eye_region"] | masks["right_eye_region"]
    near_eyes = (np.abs(x) < 58) & (y > 12 + 8 * np.exp(-((x / 9.0) ** 2))) & (y < 56)
    masks["eye_region"] = (near_eyes & masks["face"]) | masks["left_eye_region"] | masks["right_eye_region"]
    masks["forehead"] = masks["face"] & (y > 46 - 0.002 * x**2) & (z > 8)
    nose_side = np.where(y > -3, 7.0 + 0.32 * (30.0 - y), 17.5)
    masks["nose"] = (
        masks["face"] & (np.abs(x) < nose_side) & (y > -18.5) & (y < 29) & (z > 50) & ~masks["lips"]
    )

    outside = is_skin & ~inside
    behind = outside & ~masks["face"] & ~ears
    scalp = behind & (y > -118) & ((z < -47) | (y > 26 + 0.25 * (z + 47)))
    masks["scalp"] = _grow(scalp, template.faces) & outside & ~ears & (y > -125)
    throat = outside & ~masks["face"] & ~ears & (y < np.where(z < -14, -54.0, -50.0)) & (y > -168)
    masks["neck"] = throat
    masks["static_neck"] = outside & (y < -118 + 0.34 * np.clip(-z, 0, 112))
    masks["boundary"] = mask(rings.neck_rings[4:])
    masks["ens"] = ears | masks["scalp"] | masks["neck"]
    return {name: np.flatnonzero(masks[name]).astype(np.int64) for name in sorted(masks)}


def lower_neck_faces(template: Template) -> np.ndarray:
    """Ids (int64) of the faces below the middle of the neck, which are removed for rendering."""
    top = template.vertices[template.faces][:, :, 1].max(1)
    below = np.isin(template.faces, template.skin.neck_rings[1:]).all(1)
    return np.flatnonzero(below & (top < -120.0)).astype(np.int64)
