"""The skin's mesh: a Delaunay triangulation of points on the left half, patches, and the mirror image.

Seen from the star centre the left half is a disc. Stereographic projection towards +x preserves the shape of small
triangles, so a Delaunay triangulation in the plane is also a good one on the skin.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import Delaunay, cKDTree

from nha.head.procedural import patches
from nha.head.procedural.sculpt import STAR_CENTRE, project_along_rays, skin_from_centre, skin_near

NECK_RING_Y = -118.0
NECK_HALF_STEPS = 24
_NECK_ROWS_Y = (-126.0, -134.5, -143.5, -153.0, -163.0, -174.0, -186.0)
_SEED = 20
_RELAXATIONS = 10


@dataclass(frozen=True)
class SkinMesh:
    """The skin without eyeballs, with its rings as vertex ids.

    Attributes:
        vertices: [V, 3] mm.
        faces: [F, 3], counter-clockwise seen from outside.
        mouth_faces: [M, 3], the faces that close the lips.
        mirror: [V], the corresponding vertex on the other side.
        eye_rings, ear_rings: [13, 32] and [10, 32] of the left side.
        mouth_rings: [10, 40], from the upper middle over the left corner and the lower middle.
        neck_rings: [8, 48], rows from the top down, from the front over the left side.
    """

    vertices: np.ndarray
    faces: np.ndarray
    mouth_faces: np.ndarray
    mirror: np.ndarray
    eye_rings: np.ndarray
    ear_rings: np.ndarray
    mouth_rings: np.ndarray
    neck_rings: np.ndarray


def edge_length_mm(points: np.ndarray) -> np.ndarray:
    """The desired edge length [M] at skin points [M, 3]: short where a face moves, long on the skull."""
    x, y, z = np.abs(points[:, 0]), points[:, 1], points[:, 2]
    face = np.clip((15.0 - z) / 70.0, 0, 1) + np.clip((y - 62.0) / 40.0, 0, 1)
    length = 5.2 + 6.0 * np.clip(face, 0, 1)
    for centre, radius, fine in (
        ((6.0, -4.0, 72.0), 30.0, 2.7),
        ((7.0, -12.0, 71.0), 13.0, 1.7),
        ((31.0, 26.0, 48.0), 34.0, 3.5),
        ((8.0, -39.0, 68.0), 46.0, 3.5),
        ((74.0, -2.0, -30.0), 50.0, 4.4),
    ):
        distance = np.linalg.norm(np.stack([x, y, z], -1) - centre, axis=-1) / radius
        length = np.minimum(length, fine + np.clip(distance - 0.5, 0, None) * 6.0)
    return length


def _to_plane(points: np.ndarray) -> np.ndarray:
    direction = points - STAR_CENTRE
    direction = direction / np.linalg.norm(direction, axis=-1, keepdims=True)
    return direction[:, 1:] / (1.0 + direction[:, :1])


def _open_to_midline(half_ring: np.ndarray) -> np.ndarray:
    """The polygon of a hole on the midline in the plane, extended beyond the disc's edge."""
    flat = _to_plane(half_ring)
    beyond = 1.5 * flat[[-1, 0]]
    return np.concatenate([flat, beyond[:1], 1.5 * flat[[-1, 0]].mean(0, keepdims=True), beyond[1:]])


def _inside_polygon(points: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    a, b = polygon, np.roll(polygon, -1, axis=0)
    crosses = (a[None, :, 1] > points[:, None, 1]) != (b[None, :, 1] > points[:, None, 1])
    slope = (b[:, 0] - a[:, 0]) / np.where(b[:, 1] == a[:, 1], 1e-30, b[:, 1] - a[:, 1])
    at = a[None, :, 0] + (points[:, None, 1] - a[None, :, 1]) * slope[None]
    return (crosses & (points[:, None, 0] < at)).sum(1) % 2 == 1


def _neck_row(y: float) -> np.ndarray:
    """One row of the left half of the neck [25, 3], from front to back; the lowest rows widen."""
    angle = np.pi * np.arange(NECK_HALF_STEPS + 1) / NECK_HALF_STEPS
    direction = np.stack([np.sin(angle), np.zeros_like(angle), np.cos(angle)], -1)
    direction[[0, -1], 0] = 0.0
    start = np.array([0.0, y, -38.0 + 0.14 * (y + 118.0)])
    row = project_along_rays(np.tile(start, (len(angle), 1)), direction, 0.0, 200.0)
    flare = np.clip((-136.0 - y) / 50.0, 0, None) ** 1.7
    return row + flare * direction * np.array([30.0, 0.0, 8.0])


def _midline(first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Points [M, 3] on the skin's midline strictly between two of its points, with the desired spacing.

    The angle increases from +z over +y: up the face, over the crown, down the nape, up the throat.
    """
    start, end = (np.arctan2(*(p - STAR_CENTRE)[1:3]) for p in (first, last))
    if end < start:
        end += 2 * np.pi
    angle = np.linspace(start, end, 1500)
    line = skin_from_centre(np.stack([np.zeros_like(angle), np.sin(angle), np.cos(angle)], -1))
    step = np.linalg.norm(np.diff(line, axis=0), axis=1) / edge_length_mm(0.5 * (line[1:] + line[:-1]))
    along = np.concatenate([[0.0], np.cumsum(step)])
    count = max(int(round(along[-1])), 2)
    angle = np.interp(along[-1] * np.arange(1, count) / count, along, angle)
    points = skin_from_centre(np.stack([np.zeros_like(angle), np.sin(angle), np.cos(angle)], -1))
    points[:, 0] = 0.0
    return points


def _scatter(fixed: np.ndarray, holes: list[np.ndarray]) -> np.ndarray:
    """Points [M, 3] of the left half at the desired edge length from each other and from the fixed points."""
    rng = np.random.Generator(np.random.PCG64(_SEED))
    direction = rng.standard_normal((20000, 3))
    forward = direction[:11000]
    forward[:, 2] = np.abs(forward[:, 2]) * 1.2  # more candidates where the mesh is fine
    direction[:, 0] = np.abs(direction[:, 0])
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    points = skin_from_centre(direction, coarse=True)
    flat = _to_plane(points)
    keep = points[:, 0] > 1.0
    for hole in holes:
        keep &= ~_inside_polygon(flat, hole)
    points = points[keep]
    wanted = 0.80 * edge_length_mm(points)
    near_fixed = cKDTree(fixed).query(points)[0]
    points, wanted = points[near_fixed > 0.9 * wanted], wanted[near_fixed > 0.9 * wanted]
    neighbours = cKDTree(points).query_ball_point(points, wanted)
    blocked = np.zeros(len(points), bool)
    chosen = []
    for i, near in enumerate(neighbours):
        if not blocked[i]:
            chosen.append(i)
            blocked[near] = True
    return points[chosen]


def _triangulate(points: np.ndarray, holes: list[np.ndarray]) -> np.ndarray:
    flat = _to_plane(points)
    # Points of symmetric rings are cocircular; a small shift makes the triangulation unique on every machine.
    twisted = flat + 1e-6 * np.stack([np.sin(7e3 * flat[:, 1] + 1), np.sin(9e3 * flat[:, 0] + 2)], -1)
    faces = Delaunay(twisted).simplices
    centroid = flat[faces].mean(1)
    keep = np.ones(len(faces), bool)
    for hole in holes:
        keep &= ~_inside_polygon(centroid, hole)
    faces = faces[keep]
    corner = points[faces]
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    outward = np.einsum("fk,fk->f", normal, corner.mean(1) - STAR_CENTRE) > 0
    return np.where(outward[:, None], faces, faces[:, [0, 2, 1]])


def _relax(points: np.ndarray, n_fixed: int, holes: list[np.ndarray]) -> np.ndarray:
    """Move the free points to the weighted centroids of their triangles a few times, keeping them on the skin."""
    for _ in range(_RELAXATIONS):
        faces = _triangulate(points, holes)
        corner = points[faces]
        centroid = corner.mean(1)
        area = np.linalg.norm(np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=1)
        weight = area / edge_length_mm(centroid) ** 4
        total, moved = np.zeros(len(points)), np.zeros_like(points)
        for k in range(3):
            np.add.at(total, faces[:, k], weight)
            np.add.at(moved, faces[:, k], weight[:, None] * centroid)
        points = np.concatenate([points[:n_fixed], skin_near(moved[n_fixed:] / total[n_fixed:, None])])
    return points


def _strip(outer: np.ndarray, inner: np.ndarray, closed: bool) -> np.ndarray:
    """Triangles between two vertex rows of equal length.

    Seen with `outer` below and running to the right, the faces are counter-clockwise.
    """
    n = len(outer) if closed else len(outer) - 1
    faces = []
    for i in range(n):
        a, b = outer[i], outer[(i + 1) % len(outer)]
        c, d = inner[i], inner[(i + 1) % len(outer)]
        faces += [(a, b, d), (a, d, c)]
    return np.array(faces)


def build_skin() -> SkinMesh:
    """Build the skin's mesh; deterministic."""
    eye, ear, mouth = patches.eye_patch(), patches.ear_patch(), patches.mouth_patch()
    neck = np.stack([_neck_row(y) for y in (NECK_RING_Y, *_NECK_ROWS_Y)])
    midline = np.concatenate([_midline(mouth[0, 0], neck[0, -1]), _midline(neck[0, 0], mouth[0, -1])])
    fixed = np.concatenate([eye[0], ear[0], mouth[0], neck[0], midline])
    holes = [_to_plane(eye[0]), _to_plane(ear[0]), _open_to_midline(mouth[0]), _open_to_midline(neck[0])]
    points = _relax(np.concatenate([fixed, _scatter(fixed, holes)]), len(fixed), holes)
    faces = [_triangulate(points, holes)]

    def add_patch(patch: np.ndarray, first: int) -> np.ndarray:
        nonlocal points
        count = patch.shape[1]
        below = len(points) + np.arange((len(patch) - 1) * count).reshape(-1, count)
        points = np.concatenate([points, patch[1:].reshape(-1, 3)])
        return np.concatenate([first + np.arange(count)[None], below])

    starts = np.cumsum([0, len(eye[0]), len(ear[0]), len(mouth[0])])
    eye_ids, ear_ids, mouth_ids, neck_ids = (
        add_patch(patch, start) for patch, start in zip((eye, ear, mouth, neck), starts, strict=True)
    )
    for ids, closed, flip in (
        (eye_ids, True, False),
        (ear_ids, True, False),
        (mouth_ids, False, True),
        (neck_ids, False, True),
    ):
        for outer, inner in zip(ids[:-1], ids[1:], strict=True):
            strip = _strip(outer, inner, closed)
            faces.append(strip[:, ::-1] if flip else strip)
    for ids in (eye_ids, ear_ids):  # close the bottom of the eye socket and of the concha
        pole = len(points)
        points = np.concatenate([points, points[ids[-1]].mean(0, keepdims=True)])
        faces.append(np.stack([ids[-1], np.roll(ids[-1], -1), np.full(len(ids[-1]), pole)], -1))
    return _mirror(points, np.concatenate(faces), eye_ids, ear_ids, mouth_ids, neck_ids)


def _mirror(
    points: np.ndarray,
    faces: np.ndarray,
    eye_ids: np.ndarray,
    ear_ids: np.ndarray,
    mouth_ids: np.ndarray,
    neck_ids: np.ndarray,
) -> SkinMesh:
    """The whole skin from its left half [M, 3]; vertices with x = 0 belong to both sides."""
    on_midline = points[:, 0] == 0.0
    other = np.arange(len(points))
    other[~on_midline] = len(points) + np.arange((~on_midline).sum())
    vertices = np.concatenate([points, points[~on_midline] * np.array([-1.0, 1.0, 1.0])])
    mirror = np.concatenate([other, np.arange(len(points))[~on_midline]])

    def full_loop(half: np.ndarray) -> np.ndarray:
        return np.concatenate([half, mirror[half[:, -2:0:-1]]], axis=1)

    mouth_rings = full_loop(mouth_ids)
    return SkinMesh(
        vertices=vertices,
        faces=np.concatenate([faces, mirror[faces[:, ::-1]]]),
        mouth_faces=_mouth_faces(mouth_rings[patches.LIP_CONTACT_RING], mirror),
        mirror=mirror,
        eye_rings=eye_ids,
        ear_rings=ear_ids,
        mouth_rings=mouth_rings,
        neck_rings=full_loop(neck_ids),
    )


def _mouth_faces(loop: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """The triangles that close the lips along their contact loop, seen from the front."""
    quarter = len(loop) // 4
    upper, lower = loop[quarter::-1], loop[quarter : 2 * quarter + 1]  # left corner to the middle
    faces = [(upper[0], upper[1], lower[1])]
    for i in range(1, quarter):
        faces += [(upper[i], upper[i + 1], lower[i]), (upper[i + 1], lower[i + 1], lower[i])]
    faces = np.array(faces)
    return np.concatenate([faces, mirror[faces[:, ::-1]]])
