"""The albedo space of the tracker: a mean and ten directions as functions of the position on the head."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_edt

from nha.head.procedural.fields import bump
from nha.head.procedural.patches import EYE_RADIUS
from nha.head.procedural.sculpt import smooth_step
from nha.head.procedural.template import Template, eye_centre
from nha.head.procedural.unwrap import UvMap

TEXTURE_SIZE = 512
DIRECTION_NAMES = (
    "lightness",
    "redness",
    "yellowness",
    "cheek_blush",
    "lip_colour",
    "brow_darkness",
    "beard_shadow",
    "iris_colour",
    "under_eye",
    "scalp_shadow",
)


def rasterise_uv(
    uvs: np.ndarray, uv_faces: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rasterise UV triangles. Row 0 is the top (v = 1); a texel is covered if its centre is inside a triangle.

    Args:
        uvs: [T, 2] in 0..1, v up.
        uv_faces: [F, 3] ids into `uvs`.
        size: texels per side.

    Returns:
        Face ids [size, size] (-1 for none), barycentric coordinates [size, size, 3], and the number of triangles that
        cover each texel [size, size], in which points on edges do not count.
    """
    xy = uvs * np.array([size, -size]) + np.array([0.0, size]) - 0.5
    face_id = np.full((size, size), -1)
    bary = np.zeros((size, size, 3))
    count = np.zeros((size, size), int)
    for f, (a, b, c) in enumerate(xy[uv_faces]):
        area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        left, right = int(np.ceil(min(a[0], b[0], c[0]))), int(max(a[0], b[0], c[0])) + 1
        top, bottom = int(np.ceil(min(a[1], b[1], c[1]))), int(max(a[1], b[1], c[1])) + 1
        if left >= right or top >= bottom or area == 0.0:
            continue
        x, y = np.arange(left, right)[None, :], np.arange(top, bottom)[:, None]
        w1 = ((x - a[0]) * (c[1] - a[1]) - (y - a[1]) * (c[0] - a[0])) / area
        w2 = ((b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])) / area
        weights = np.stack([1.0 - w1 - w2, w1, w2], -1)
        inside = weights.min(-1) >= 0.0
        window = (slice(top, bottom), slice(left, right))
        face_id[window][inside] = f
        bary[window][inside] = weights[inside]
        count[window] += weights.min(-1) > 1e-9
    return face_id, bary, count


def _waves(points: np.ndarray, wavelength_mm: float, seed: int) -> np.ndarray:
    """Smooth noise [M], roughly in -1..1: a sum of plane waves with fixed random directions."""
    rng = np.random.Generator(np.random.PCG64(seed))
    directions = rng.standard_normal((10, 3))
    directions *= (2 * np.pi / wavelength_mm) / np.linalg.norm(directions, axis=1, keepdims=True)
    directions *= rng.uniform(0.7, 1.4, (10, 1))
    phases = rng.uniform(0, 2 * np.pi, 10)
    return np.sin(points @ directions.T + phases).sum(1) / np.sqrt(10 / 2) / 2


def _vertex_masks(template: Template) -> np.ndarray:
    """Masks [V, 4] in 0..1: red of the lips, inside of the mouth, lash line, eye socket."""
    masks = np.zeros((len(template.vertices), 4))
    rings = template.skin.mouth_rings
    masks[rings[2:7], 0] = np.array([0.35, 0.9, 1.0, 1.0, 1.0])[:, None]
    masks[rings[7:], 1] = np.array([0.6, 1.0, 1.0])[:, None]
    for side in ("left", "right"):
        eye = template.eye_rings(side)
        above = np.clip(np.sin(2 * np.pi * np.arange(eye.shape[1]) / eye.shape[1]), 0, 1) > 0
        masks[eye[5:7], 2] = np.where(above, 1.0, 0.35)
        masks[eye[7:], 3] = 1.0
    return masks


def _regions(p: np.ndarray) -> dict[str, np.ndarray]:
    """Soft masks [M] in 0..1 of regions of the skin. p: [M, 3] mm."""
    mirrored = np.stack([np.abs(p[:, 0]), p[:, 1], p[:, 2]], -1)
    x, y, z = mirrored.T
    brow_y = (
        44.2 + 4.6 * np.sin(np.clip((x - 8.0) / 52.0, 0, 1) * 2.5) - 9.0 * np.clip((x - 44.0) / 18.0, 0, None)
    )
    thick = 3.7 * smooth_step(x, 5.0, 13.0) * (1.0 - 0.75 * smooth_step(x, 30.0, 61.0))
    strands = 0.84 + 0.09 * np.sin(4.1 * x + 2.0 * y) + 0.07 * np.sin(2.3 * x - 0.8 * y + 1.0)
    brow = (
        np.exp(-(np.abs((y - brow_y) / np.maximum(thick, 0.2)) ** 3))
        * smooth_step(x, 5.0, 9.0)
        * (1 - smooth_step(x, 57.0, 62.0))
    )
    brow *= strands * (z > 10)
    jaw = smooth_step(-y, 14.0, 34.0) * smooth_step(z, -22.0, 4.0) * (1 - smooth_step(-y, 92.0, 112.0))
    return {
        "cheek": bump(mirrored, (42, -4, 46), (30, 26, 36)),
        "nose": bump(mirrored, (0, -2, 78), (20, 18, 22)),
        "under_eye": bump(mirrored, (30, 11, 50), (20, 9, 24)),
        "orbit": bump(mirrored, (31, 28, 48), (25, 17, 24)),
        "nostril": bump(mirrored, (6.3, -13.0, 75.0), (4.2, 4.2, 7.0)),
        "brow": brow,
        "beard": jaw * (1 - 0.8 * bump(mirrored, (44, -14, 40), (20, 22, 40))),
        "scalp": smooth_step(y - 0.0065 * -(x**2) - 0.35 * np.clip(-z - 10, 0, 60), 84.0, 96.0)
        + smooth_step(-z, 20.0, 42.0) * smooth_step(y, -80, -50),
        "ear": bump(mirrored, (84, 0, -36), (24, 44, 34)),
    }


def _mix(base: np.ndarray, colour: tuple, share: np.ndarray) -> np.ndarray:
    share = np.clip(share, 0, 1)[:, None]
    return base * (1 - share) + np.asarray(colour, float) * share


def _paint_skin(p: np.ndarray, masks: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """RGB [M, 3] in 0..255 of the mean skin, and the directions [M, 3] by name. p: [M, 3] mm."""
    place = _regions(p)
    lips, mouth, lash, socket = masks.T
    rgb = np.tile([206.0, 163.0, 138.0], (len(p), 1))
    rgb += 5.0 * _waves(p, 60.0, 1)[:, None] * np.array([1.0, 0.9, 0.8]) + 3.0 * _waves(p, 9.0, 2)[:, None]
    rgb += 2.5 * _waves(p, 3.5, 3)[:, None] * np.array([0.8, 1.0, 1.0])
    for name, delta in (
        ("cheek", (5, -12, -10)),
        ("nose", (4, -12, -11)),
        ("ear", (5, -12, -10)),
        ("under_eye", (-12, -14, -6)),
        ("orbit", (-8, -10, -8)),
    ):
        rgb += place[name][:, None] * np.array(delta, float)
    rgb = _mix(rgb, (168, 92, 88), 0.85 * lips * (0.93 + 0.07 * np.sin(1.6 * p[:, 0])))
    rgb = _mix(rgb, (120, 50, 48), mouth)
    rgb = _mix(rgb, (60, 36, 30), 0.85 * place["nostril"])
    rgb = _mix(rgb, (74, 50, 38), 0.82 * place["brow"])
    rgb = _mix(rgb, (58, 38, 32), 0.75 * lash)
    rgb = _mix(rgb, (150, 84, 76), socket)
    bare = 1.0 - np.clip(place["brow"] + lips + mouth + lash, 0, 1)
    deltas = {
        "lightness": np.array([-34.0, -33.0, -30.0]) * (0.4 + 0.6 * bare)[:, None],
        "redness": np.array([7.0, -9.0, -7.0]) * bare[:, None],
        "yellowness": np.array([1.0, 3.0, -14.0]) * bare[:, None],
        "cheek_blush": np.array([8.0, -14.0, -9.0])
        * np.clip(place["cheek"] + 0.6 * place["nose"], 0, 1)[:, None],
        "lip_colour": np.array([8.0, -20.0, -14.0]) * lips[:, None],
        "brow_darkness": np.array([-38.0, -34.0, -30.0]) * (place["brow"] + 0.4 * lash)[:, None],
        "beard_shadow": np.array([-26.0, -22.0, -16.0]) * (place["beard"] * bare)[:, None],
        "under_eye": np.array([-14.0, -13.0, -8.0])
        * np.clip(place["under_eye"] + 0.5 * place["orbit"], 0, 1)[:, None],
        "scalp_shadow": np.array([-52.0, -48.0, -42.0]) * np.clip(place["scalp"], 0, 1)[:, None],
    }
    return rgb, deltas


def _paint_eye(local: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """RGB [M, 3] in 0..255 of an eyeball and its iris direction. local: [M, 3] mm from the eyeball's centre."""
    polar = np.arccos(np.clip(local[:, 2] / np.linalg.norm(local, axis=1), -1, 1))
    radius = EYE_RADIUS * np.sin(np.minimum(polar, np.pi / 2)) + EYE_RADIUS * np.maximum(polar - np.pi / 2, 0)
    azimuth = np.arctan2(local[:, 1], local[:, 0])
    rgb = _mix(
        np.tile([232.0, 226.0, 220.0], (len(local), 1)), (205, 150, 140), 0.5 * smooth_step(radius, 8.5, 14.0)
    )
    iris = 1.0 - smooth_step(radius, 5.5, 6.1)
    fibres = 0.85 + 0.15 * np.sin(23 * azimuth + 2.0 * np.sin(3 * azimuth))
    rgb = _mix(rgb, (104, 74, 48), iris)
    rgb *= 1.0 - (iris * (1 - fibres))[:, None]
    rgb = _mix(rgb, (38, 28, 24), 0.8 * iris * smooth_step(radius, 4.7, 5.8))
    rgb = _mix(rgb, (14, 12, 12), 1.0 - smooth_step(radius, 1.8, 2.4))
    ring = iris * smooth_step(radius, 1.8, 2.6)
    return rgb, ring[:, None] * np.array([-24.0, 18.0, 46.0])


def build_texture(template: Template, uv_map: UvMap) -> tuple[np.ndarray, np.ndarray]:
    """The mean [512, 512, 3] and directions [512, 512, 3, 10], float32, BGR in 0..255, row 0 at the top."""
    face_id, bary, _ = rasterise_uv(uv_map.uvs, uv_map.uv_faces, TEXTURE_SIZE)
    covered = face_id >= 0
    corners = template.faces[face_id[covered]]
    weights = bary[covered]
    points = np.einsum("mk,mkc->mc", weights, template.vertices[corners])
    masks = np.einsum("mk,mkc->mc", weights, _vertex_masks(template)[corners])
    rgb, deltas = _paint_skin(points, masks)
    directions = np.zeros((len(points), 3, len(DIRECTION_NAMES)))
    for name, delta in deltas.items():
        directions[:, :, DIRECTION_NAMES.index(name)] = delta
    for side in ("left", "right"):
        on_ball = np.isin(corners[:, 0], template.eyeball(side))
        rgb[on_ball], iris = _paint_eye(points[on_ball] - eye_centre(side))
        directions[on_ball] = 0.0
        directions[on_ball, :, DIRECTION_NAMES.index("iris_colour")] = iris
    mean = np.zeros((TEXTURE_SIZE, TEXTURE_SIZE, 3))
    space = np.zeros((TEXTURE_SIZE, TEXTURE_SIZE, 3, len(DIRECTION_NAMES)))
    mean[covered], space[covered] = rgb, directions
    # Texels outside the charts repeat the nearest covered one for correct interpolation at borders.
    nearest = distance_transform_edt(~covered, return_distances=False, return_indices=True)
    mean, space = mean[tuple(nearest)], space[tuple(nearest)]
    mean = np.clip(np.round(mean), 0, 255)
    return mean[..., ::-1].astype(np.float32).copy(), np.round(space[:, :, ::-1]).astype(np.float32)
