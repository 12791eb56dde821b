"""Hair as a shell over the skull, from which long hair hangs down."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.spatial import cKDTree

from nha.synthetic.body import grid_faces
from nha.synthetic.noise import fractal_noise, smooth_step, value_noise
from nha.synthetic.subject import HairStyle

SKULL_CENTRE = np.array([0.0, 15.0, -72.0])  # face frame, mm
_AZIMUTHS, _SHELL_ROWS, _HANG_ROWS = 200, 44, 26
_SINK_MM = 3.0  # depth of the hair's edge below the skin
_HANG_FROM_DEG = 3.0

# The left hairline from the middle of the forehead over temple, sideburn and the back of the ear to the nape.
_HAIRLINE_MM = np.array(
    [
        (0, 69, 18),
        (22, 68, 12),
        (44, 62, -6),
        (57, 50, -16),
        (63, 34, -26),
        (68, 14, -38),
        (71, -6, -46),
        (74, 10, -58),
        (75, 14, -74),
        (74, 4, -92),
        (72, -26, -100),
        (58, -58, -116),
        (34, -74, -134),
        (0, -78, -142),
    ],
    float,
)


@dataclass(frozen=True)
class HairMesh:
    """The surface of the hair.

    Attributes:
        vertices: [V, 3] face frame mm.
        faces: [G, 3].
        strand: [V, 3] coordinates for the colour noise: a point on the unit circle that identifies the strand, and
            the position along it; for curls the position in space.
        tangents: [V, 3] unit vectors along the strands.
        tip: [V], 0 at the root and 1 at the end.
    """

    vertices: np.ndarray
    faces: np.ndarray
    strand: np.ndarray
    tangents: np.ndarray
    tip: np.ndarray


def _directions(azimuth: np.ndarray, elevation: np.ndarray) -> np.ndarray:
    cos = np.cos(elevation)
    return np.stack([cos * np.sin(azimuth), np.sin(elevation), cos * np.cos(azimuth)], -1)


def _hairline_elevation(azimuth: np.ndarray) -> np.ndarray:
    """Elevation of the hairline in radians about the skull's centre, for azimuths in radians (0 is the front)."""
    arm = _HAIRLINE_MM - SKULL_CENTRE
    known = np.arctan2(arm[:, 0], arm[:, 2])
    return PchipInterpolator(known, np.arctan2(arm[:, 1], np.hypot(arm[:, 0], arm[:, 2])))(np.abs(azimuth))


class _Skull:
    """Distance of the skin from the skull's centre as a function of direction, smoothed over a few degrees."""

    def __init__(self, skin_mm: np.ndarray):
        arm = skin_mm - SKULL_CENTRE
        self.radius = np.linalg.norm(arm, axis=1)
        self.tree = cKDTree(arm / self.radius[:, None])

    def __call__(self, directions: np.ndarray) -> np.ndarray:
        distance, index = self.tree.query(directions, k=16)
        weight = np.exp(-0.5 * (distance / 0.07) ** 2) + 1e-9
        return (weight * self.radius[index]).sum(-1) / weight.sum(-1)


def _thickness(style: HairStyle, directions: np.ndarray, seed: int) -> np.ndarray:
    """Hair thickness in mm by direction [..., 3], without the taper at the hairline."""
    up, front = directions[..., 1], directions[..., 2]
    side = smooth_step(np.abs(directions[..., 0]), 0.45, 0.9)
    back = smooth_step(-front, 0.1, 0.7)
    low = smooth_step(up, 0.75, 0.1)
    edge = side * style.side_mm + (1 - side) * (back * style.back_mm + (1 - back) * style.top_mm)
    thickness = (1 - low) * style.top_mm + low * edge
    if style.flow == "back" and not style.bun:
        thickness = thickness + 9.0 * smooth_step(front, 0.25, 0.75) * smooth_step(up, 0.35, 0.7)
    lumps = fractal_noise(directions * 90.0 / style.lump_size_mm, 2, seed) - 0.5
    return thickness + 2 * style.lump_mm * lumps


def _strand_planes(style: HairStyle, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The strand of each direction as a unit vector [..., 2], and the normal [..., 3] of the strand's plane."""
    axis = {"parted": 0, "whorl": 1, "back": 2}[style.flow]
    pole = np.zeros(3)
    pole[axis] = 1.0
    if style.flow == "whorl":  # the whorl is behind the top of the head
        pole = np.array([0.15, 0.86, -0.48])
    # Strands lie in planes through an axis below the skull's centre, which keeps its ends out of view.
    lift = {"parted": 0.8, "whorl": 0.0, "back": 0.35}[style.flow]
    directions = directions + [0.0, lift, 0.0]
    first = np.cross(pole, [0.3, 0.1, 0.9] if axis != 2 else [0.0, 1.0, 0.0])
    first /= np.linalg.norm(first)
    second = np.cross(pole, first)
    around = np.stack([directions @ first, directions @ second], -1)
    around /= np.maximum(np.linalg.norm(around, axis=-1, keepdims=True), 1e-6)
    return around, np.cross(pole, directions)


def build_hair(style: HairStyle, skin_mm: np.ndarray, seed: int) -> HairMesh:
    """Build the hair of a head.

    Args:
        style: the hair style.
        skin_mm: [V, 3] vertices of the outer skin without ears, face frame mm.
        seed: seed of the irregularities.
    """
    azimuth = np.linspace(-np.pi, np.pi, _AZIMUTHS + 1)
    skull = _Skull(skin_mm)
    shell, directions, hanging = _shell(style, azimuth, skull, seed)
    grid, tip = shell, np.broadcast_to(np.linspace(0, 0.5, _SHELL_ROWS)[:, None], shell.shape[:2])
    if style.tip_height_mm is not None:
        curtain = _curtain(style, azimuth, shell[-1], hanging, seed)
        grid = _smooth_seam(np.concatenate([shell, curtain]), hanging)
        directions = np.concatenate([directions, np.repeat(directions[-1:], len(curtain), 0)])
        lower = np.linspace(0.5, 1, len(curtain) + 1)[1:, None]
        tip = np.concatenate([tip, np.broadcast_to(lower, curtain.shape[:2])])
    around, plane = _strand_planes(style, directions)
    normal = np.cross(np.gradient(grid, axis=0), np.gradient(grid, axis=1))
    tangents = np.cross(plane, normal)
    tangents /= np.maximum(np.linalg.norm(tangents, axis=-1, keepdims=True), 1e-6)
    tips = np.array([0.0, -0.3, -1.0]) if style.flow == "back" else directions * [1, 0, 1] - [0, 0.6, 0]
    tangents *= np.where((tangents * tips).sum(-1, keepdims=True) < 0, -1, 1)
    down = smooth_step(tip, 0.28, 0.5)[..., None] * hanging[:, None]
    tangents = (1 - down) * tangents + down * [0.0, -1.0, 0.0]
    strand = (grid - SKULL_CENTRE) / 100 if style.curly else np.concatenate([around, tip[..., None]], -1)
    rows, columns = grid.shape[:2]
    faces = grid_faces(rows, columns)
    pieces = [(grid.reshape(-1, 3), faces, strand.reshape(-1, 3), tangents.reshape(-1, 3), tip.reshape(-1))]
    if style.bun:
        pieces.append(_bun(seed))
    return _joined(pieces)


def _shell(style: HairStyle, azimuth: np.ndarray, skull: _Skull, seed: int):
    """Points over the skull [R, A, 3], their directions, and the weight [A] of hanging hair at each azimuth."""
    end = _hairline_elevation(azimuth)
    hanging = np.zeros_like(azimuth)
    front = np.abs(azimuth)
    if style.tip_height_mm is not None:
        hanging = smooth_step(front, np.radians(50), np.radians(72))
        hang_from = np.maximum(end, np.radians(_HANG_FROM_DEG))
        end = (1 - hanging) * end + hanging * hang_from
    fringe = np.zeros_like(azimuth)
    if style.fringe_height_mm is not None:
        fringe = smooth_step(front, np.radians(46), np.radians(30))
        low = np.arctan2(style.fringe_height_mm - SKULL_CENTRE[1], 92.0)
        low = low + np.radians(5) * (
            value_noise(np.stack([azimuth * 30, azimuth * 0, azimuth * 0], -1), seed) - 0.5
        )
        end = (1 - fringe) * end + fringe * np.minimum(low, end)
    ragged = (
        value_noise(np.stack([np.sin(azimuth) * 26, np.cos(azimuth) * 26, azimuth * 0], -1), seed + 3) - 0.5
    )
    end = end + np.radians(2.2) * ragged
    along = np.linspace(0, 1, _SHELL_ROWS)[:, None] ** 0.9
    elevation = np.pi / 2 - along * (np.pi / 2 - end)
    directions = _directions(np.broadcast_to(azimuth, elevation.shape), elevation)
    around, _ = _strand_planes(style, directions)
    locks = (
        value_noise(np.concatenate([around * 11.0, along[..., None] + 0 * around[..., :1]], -1), seed + 5)
        - 0.5
    )
    thickness = _thickness(style, directions, seed) + 2 * style.lock_mm * locks * smooth_step(
        along, 0.1, 0.4
    ) * (1 - 0.75 * fringe)
    # At the hairline hair emerges from the skin; a fringe and hanging hair keep their thickness.
    to_edge_mm = (elevation - end) * 95.0
    depth = np.maximum(style.top_mm * 0.8, 8.0)
    taper = np.sqrt(np.clip(to_edge_mm / depth, 0, 1) * (2 - np.clip(to_edge_mm / depth, 0, 1)))
    free = np.maximum(hanging, 0.0)
    height = thickness * (taper * (1 - free) + free) - _SINK_MM * (1 - taper) * (1 - free) * (1 - fringe)
    fringe_height = np.maximum(height, 3.5 + 4.0 * taper)
    height = (1 - fringe) * height + fringe * fringe_height
    radius = skull(directions) + height
    return SKULL_CENTRE + radius[..., None] * directions, directions, hanging


def _curtain(
    style: HairStyle, azimuth: np.ndarray, start: np.ndarray, hanging: np.ndarray, seed: int
) -> np.ndarray:
    """Rows of hair [H, A, 3] that hang from the shell's last row [A, 3] and curve inwards at their ends."""
    t = np.linspace(0, 1, _HANG_ROWS + 1)[1:, None]
    ring = np.stack([np.sin(azimuth) * 20, np.cos(azimuth) * 20, azimuth * 0], -1)
    ragged = 10 * (fractal_noise(ring, 2, seed + 7) - 0.5)
    length = np.maximum(start[:, 1] - style.tip_height_mm + ragged, 0) * hanging
    y = start[:, 1] - t * length
    outward = start[:, [0, 2]] - SKULL_CENTRE[[0, 2]]
    reach = np.linalg.norm(outward, axis=1)
    outward = outward / reach[:, None]
    lock = value_noise(
        np.concatenate([ring * 0.55 + 0 * t[..., None], t[..., None] * 1.5 + 0 * ring[None, :, :1]], -1)[
            ..., [0, 1, 3]
        ],
        seed + 9,
    )
    bob = style.tip_height_mm > -120
    swell = (7.0 if bob else 3.0) * np.sin(np.pi * np.clip(t * 0.8, 0, 1)) - (20.0 if bob else 8.0) * t**3
    reach = reach + hanging * (swell + 2 * style.lock_mm * (lock - 0.5) * smooth_step(t, 0, 0.3))
    flat = SKULL_CENTRE[[0, 2]] + reach[..., None] * outward
    return np.stack([flat[..., 0], y, flat[..., 1]], -1)


def _smooth_seam(grid: np.ndarray, hanging: np.ndarray) -> np.ndarray:
    """Smooth the rows [R, A, 3] where hanging hair begins."""
    row = np.arange(1, len(grid) - 1)
    near = smooth_step(np.abs(row - _SHELL_ROWS), 11, 4)[:, None, None] * hanging[:, None]
    grid = grid.copy()
    for _ in range(30):
        middle = 0.5 * (grid[:-2] + grid[2:])
        grid[1:-1] += 0.5 * near * (middle - grid[1:-1])
    return grid


def _bun(seed: int):
    turn, polar = np.meshgrid(np.linspace(0, 2 * np.pi, 49), np.linspace(0, np.pi, 25))
    ball = np.stack([np.sin(polar) * np.cos(turn), np.cos(polar), np.sin(polar) * np.sin(turn)], -1)
    swirl = turn * 0.5 + polar * 1.5
    strand = np.stack([np.cos(swirl), np.sin(swirl), polar / np.pi], -1)
    radius = 33 + 3.5 * (
        fractal_noise(np.concatenate([strand[..., :2] * 5, strand[..., 2:]], -1), 2, seed + 11) - 0.5
    )
    points = np.array([0.0, 96.0, -140.0]) + radius[..., None] * ball * [1.05, 0.9, 1.0]
    tangents = np.gradient(points, axis=0) + 0.6 * np.gradient(points, axis=1)
    tangents /= np.maximum(np.linalg.norm(tangents, axis=-1, keepdims=True), 1e-6)
    faces = grid_faces(*points.shape[:2])[:, ::-1]
    flat = (points.reshape(-1, 3), faces, strand.reshape(-1, 3), tangents.reshape(-1, 3))
    return (*flat, (polar / np.pi).reshape(-1))


def _joined(pieces: list[tuple]) -> HairMesh:
    offsets = np.cumsum([0] + [len(piece[0]) for piece in pieces])
    faces = np.concatenate([piece[1] + offset for piece, offset in zip(pieces, offsets, strict=False)])
    vertices, _, strand, tangents, tip = (np.concatenate(list(part)) for part in zip(*pieces, strict=True))
    return HairMesh(vertices, faces, strand, tangents, tip)
