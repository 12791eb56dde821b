"""Materials: colour, highlights and parsing labels of skin, eyes, teeth, tongue, hair and cloth.

Each function returns the `Material` of the visible points of one surface. Albedos are linear colours; those of
`Subject` are sRGB.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nha.core.conventions import Parsing
from nha.synthetic.anatomy import SIDES, Anatomy, distance_to_curve, signed_distance_to_loop
from nha.synthetic.body import COLLAR_ABOVE_MM
from nha.synthetic.noise import fractal_noise, smooth_step, value_noise
from nha.synthetic.subject import Rgb, Subject

_INSIDE_MOUTH = (0.34, 0.13, 0.12)
_GUM = (0.72, 0.38, 0.38)
_TOOTH = (0.93, 0.90, 0.83)
_TONGUE = (0.72, 0.36, 0.36)
_BROW_LABEL = {"left": Parsing.L_BROW, "right": Parsing.R_BROW}
_IRIS_MM, _PUPIL_MM = 6.3, 2.5
PART_LABEL_ABOVE = 0.5


@dataclass
class Material:
    """The appearance of M points.

    Attributes:
        albedo: [M, 3] linear.
        specular: [M] strength of the highlight.
        exponent: [M] exponent of the highlight.
        label: uint8 [M] `Parsing`.
    """

    albedo: np.ndarray
    specular: np.ndarray
    exponent: np.ndarray
    label: np.ndarray


def linear(color: Rgb | np.ndarray) -> np.ndarray:
    """Convert sRGB in 0..1 to linear colours with gamma 2.2."""
    return np.asarray(color, float) ** 2.2


def _uniform(count: int, color: Rgb, specular: float, exponent: float, label: Parsing) -> Material:
    return Material(
        np.tile(linear(color), (count, 1)),
        np.full(count, specular),
        np.full(count, exponent),
        np.full(count, label, np.uint8),
    )


def _mix(albedo: np.ndarray, color: np.ndarray, amount: np.ndarray) -> np.ndarray:
    return albedo + (color - albedo) * amount[:, None]


def _near(points: np.ndarray, centre, radius: float) -> np.ndarray:
    """A smooth weight [M]: 1 at the centre, 0 beyond `radius`."""
    arm = points - np.asarray(centre)
    return smooth_step(np.sqrt(np.einsum("mk,mk->m", arm, arm)), radius, 0.0)


def _near_curve(points: np.ndarray, curve: np.ndarray, below: float, above: float) -> np.ndarray:
    """Ids of the points [M, D] in the bounding box of a curve [K, D], enlarged by margins in mm."""
    low, high = curve.min(0) - below, curve.max(0) + above
    return np.flatnonzero(((points > low) & (points < high)).all(1))


def skin_material(points: np.ndarray, parts: np.ndarray, subject: Subject, anatomy: Anatomy) -> Material:
    """Skin with cheeks, freckles, lips, brows, lashes and a beard.

    Args:
        points: [M, 3] template positions, face frame mm.
        parts: [M, 6] interpolated membership in `scene.LABELLED_PARTS`, in 0..1.
        subject: colours and features.
        anatomy: positions of the features.
    """
    x, y, z = points.T
    material = _uniform(len(points), subject.skin_color, 0.10, 18.0, Parsing.SKIN)
    base = linear(subject.skin_color)
    albedo = material.albedo * (0.90 + 0.2 * fractal_noise(points / 24.0, 3, subject.seed + 20))[:, None]
    albedo *= (0.94 + 0.12 * value_noise(points / 1.7, subject.seed + 21))[:, None]

    red = base * [1.06, 0.62, 0.60]
    marks = anatomy.landmarks
    for side in (-1.0, 1.0):
        cheek = _near(points * [1, 1, 0.7], [side * 40, -32, 0.7 * 14], 34)
        albedo = _mix(albedo, red, 0.55 * subject.blush * cheek)
        under_eye = _near(points * [1, 1.8, 0.5], [side * 30, 1.8 * -14.5, 0.5 * 20], 20)
        albedo = _mix(albedo, base * [0.78, 0.66, 0.68], 0.22 * under_eye)
    albedo = _mix(albedo, red, 0.35 * subject.blush * _near(points, marks[30], 17))
    albedo = _mix(albedo, red, 0.5 * parts[:, 1:3].sum(1).clip(0, 1))
    albedo = _freckles(albedo, points, subject)
    albedo = _beard(albedo, points, subject, anatomy)
    for side in SIDES:
        albedo = _mix(albedo, base * [0.18, 0.10, 0.09], 0.85 * _near(points, anatomy.nostrils[side], 4.6))
    material.albedo = albedo
    material.specular += 0.10 * _near(points, marks[30], 14) + 0.05 * _near(points, [0, 45, 22], 40)

    material.label[parts[:, 0] > PART_LABEL_ABOVE] = Parsing.NOSE
    material.label[parts[:, 3] > PART_LABEL_ABOVE] = Parsing.NECK
    material.label[parts[:, 1] > PART_LABEL_ABOVE] = Parsing.L_EAR
    material.label[parts[:, 2] > PART_LABEL_ABOVE] = Parsing.R_EAR
    _add_lips(material, points, subject, anatomy)
    _add_brows(material, points, subject, anatomy)
    _add_lashes(material, points, subject, anatomy)
    return material


def _freckles(albedo: np.ndarray, points: np.ndarray, subject: Subject) -> np.ndarray:
    if subject.freckles < 0.08:
        return albedo
    where = np.exp(-(((points[:, 1] + 20) / 26) ** 2)) * smooth_step(points[:, 2], -40, 15)
    dots = value_noise(points / 2.6, subject.seed + 31)
    amount = smooth_step(dots, 0.80 - 0.12 * subject.freckles, 0.92)
    return _mix(albedo, albedo * [0.72, 0.50, 0.38], 0.75 * amount * where)


def _beard(albedo: np.ndarray, points: np.ndarray, subject: Subject, anatomy: Anatomy) -> np.ndarray:
    if subject.beard <= 0:
        return albedo
    x, y, z = points.T
    marks = anatomy.landmarks
    mouth_y, nose_y, chin_y = marks[51, 1], marks[33, 1], marks[8, 1]
    ragged = 5 * (value_noise(points / 4.0, subject.seed + 34) - 0.5)
    moustache = smooth_step(np.abs(x), 30, 22) * (nose_y - 4 - mouth_y)
    sideburn = smooth_step(z, 12, -34) * (2 - mouth_y)
    cheek_line = mouth_y + 4 + np.maximum(moustache, sideburn) + ragged
    zone = smooth_step(y, cheek_line + 6, cheek_line - 8) * smooth_step(y, chin_y - 34, chin_y - 6)
    zone = zone * smooth_step(z, -62, -46)
    philtrum = 1 - 0.6 * np.exp(-((x / 3.0) ** 2)) * (y > mouth_y)
    stubble = 0.5 + 1.5 * (value_noise(points * [0.9, 0.45, 0.9], subject.seed + 33) - 0.25)
    amount = np.clip(zone * philtrum * stubble * (0.35 + 0.65 * subject.beard), 0, 0.95)
    return _mix(albedo, linear(subject.brow_color) * 0.55 + 0.08 * albedo, amount)


def _add_lips(material: Material, points: np.ndarray, subject: Subject, anatomy: Anatomy) -> None:
    outline = anatomy.lip_outline
    near = _near_curve(points[:, :2], outline, 3, 3)
    near = near[points[near, 2] > -20]
    if not len(near):
        return
    flat = points[near, :2]
    distance = signed_distance_to_loop(flat, outline)
    upper = flat[:, 1] > np.interp(flat[:, 0], *anatomy.lip_contact.T)
    color = linear(subject.lip_color) * np.where(upper, 0.86, 1.0)[:, None]
    creases = 0.90 + 0.2 * value_noise(points[near] * [0.9, 0.2, 0.2], subject.seed + 41)
    # lips are darker towards their line of contact
    contact = np.abs(flat[:, 1] - np.interp(flat[:, 0], *anatomy.lip_contact.T))
    color = color * (creases * (0.72 + 0.28 * smooth_step(contact, 0.0, 2.5)))[:, None]
    amount = smooth_step(distance, 0.9, -0.9)
    material.albedo[near] = _mix(material.albedo[near], color, 0.92 * amount)
    material.specular[near] += 0.22 * amount
    material.exponent[near] += 22 * amount
    red = near[distance < 0]
    material.label[red] = np.where(upper[distance < 0], Parsing.U_LIP, Parsing.L_LIP)


def _add_brows(material: Material, points: np.ndarray, subject: Subject, anatomy: Anatomy) -> None:
    color = linear(subject.brow_color)
    for side in SIDES:
        curve = anatomy.brows[side]
        near = _near_curve(points, curve, 10, 10)
        if not len(near):
            continue
        local = points[near]
        # the inner end is raised above the landmarks for a relaxed expression
        raised = curve + np.linspace(1, 0, len(curve))[:, None] ** 2 * [0.0, 2.8, 0.0]
        distance, along = distance_to_curve(local, raised)
        half_width = subject.brow_thickness * (
            1.9 + 2.8 * smooth_step(along, 0.0, 0.25) - 3.6 * smooth_step(along, 0.35, 1.0)
        )
        ragged = 1.1 * (value_noise(local * [1.1, 0.5, 0.5] + 5, subject.seed + 51) - 0.5)
        amount = smooth_step(distance + ragged, half_width + 0.8, half_width - 1.1) * smooth_step(
            1 - along, 0.0, 0.07
        )
        # hairs point outwards and upwards
        outward = 1.0 if side == "left" else -1.0
        across = local[:, 0] * outward * 0.9 - local[:, 1] * 0.55
        hairs = value_noise(np.stack([across * 1.15, local[:, 1] * 0.16, 0 * across], -1), subject.seed + 52)
        material.albedo[near] = _mix(
            material.albedo[near], color, amount * np.clip(0.72 + 0.45 * hairs, 0, 1)
        )
        material.specular[near] *= 1 - 0.7 * amount
        material.label[near[amount > 0.5]] = _BROW_LABEL[side]


def _add_lashes(material: Material, points: np.ndarray, subject: Subject, anatomy: Anatomy) -> None:
    dark = linear(subject.brow_color) * 0.25
    for side in SIDES:
        lid = anatomy.upper_lids[side]
        near = _near_curve(points, lid, 8, 10)
        if not len(near):
            continue
        distance, along = distance_to_curve(points[near], lid)
        amount = smooth_step(distance, 1.7, 0.6) * smooth_step(1 - along, -0.3, 0.45)
        material.albedo[near] = _mix(material.albedo[near], dark, 0.92 * amount)
        shade = smooth_step(distance, 8.0, 1.5) * 0.18  # the lid's fold
        material.albedo[near] *= (1 - shade)[:, None]


def eye_material(points: np.ndarray, side: str, subject: Subject, anatomy: Anatomy) -> Material:
    """Sclera, iris and pupil by the angle from the eye's axis. points: [M, 3] as for the skin."""
    material = _uniform(
        len(points), (0.95, 0.93, 0.91), 1.3, 320.0, Parsing.L_EYE if side == "left" else Parsing.R_EYE
    )
    arm = points - anatomy.eye_centres[side]
    arm = arm / np.linalg.norm(arm, axis=1, keepdims=True)
    off_axis_mm = np.arccos(np.clip(arm[:, 2], -1, 1)) * anatomy.eye_radius
    turn = np.arctan2(arm[:, 1], arm[:, 0])
    pink = smooth_step(off_axis_mm, 7.5, 15.0)
    material.albedo = _mix(material.albedo, linear((0.86, 0.68, 0.64)), 0.5 * pink)
    ring = np.stack([np.cos(turn) * 7, np.sin(turn) * 7, off_axis_mm * 0.25], -1)
    rays = value_noise(ring, subject.seed + 61)
    inner = smooth_step(off_axis_mm, _IRIS_MM, _PUPIL_MM)
    iris = linear(subject.eye_color) * (0.65 + 0.8 * rays)[:, None] * (0.75 + 0.75 * inner)[:, None]
    iris = iris * (1 - 0.7 * smooth_step(off_axis_mm, _IRIS_MM - 1.4, _IRIS_MM))[:, None]
    material.albedo = _mix(material.albedo, iris, smooth_step(off_axis_mm, _IRIS_MM + 0.35, _IRIS_MM - 0.35))
    material.albedo = _mix(
        material.albedo, np.full(3, 0.004), smooth_step(off_axis_mm, _PUPIL_MM + 0.3, _PUPIL_MM - 0.3)
    )
    return material


def teeth_material(coords: np.ndarray, subject: Subject) -> Material:
    """Teeth and gums. coords: [M, 3] as defined by `body.build_teeth`."""
    arc, height, back = coords.T
    material = _uniform(len(coords), _TOOTH, 0.35, 60.0, Parsing.MOUTH)
    width = 7.4
    # distance from the gap between two teeth
    gap = width / 2 - np.abs(np.abs(arc) % width - width / 2)
    dark = 1 - 0.62 * smooth_step(gap, 0.7, 0.05)
    dark *= 1 - 0.75 * smooth_step(np.abs(arc), 8.0, 26.0)  # darker towards the back
    gum_line = 8.2 + 1.3 * smooth_step(gap, 2.4, 0.0) * -1.0
    material.albedo = _mix(material.albedo, linear(_GUM), smooth_step(height, gum_line - 0.4, gum_line + 0.4))
    material.albedo *= (dark * (1 - 0.6 * smooth_step(back, 0.5, 4.0)))[:, None]
    return material


def tongue_material(coords: np.ndarray, subject: Subject) -> Material:
    """Tongue. coords: [M, 3] points on the unit sphere."""
    material = _uniform(len(coords), _TONGUE, 0.2, 30.0, Parsing.MOUTH)
    depth = smooth_step(coords[:, 2], -0.5, 0.9)
    material.albedo *= ((0.25 + 0.75 * depth) * (0.9 + 0.2 * value_noise(coords * 22, 3)))[:, None]
    return material


def mouth_interior_material(count: int) -> Material:
    """The dark inside of the mouth behind the lips."""
    return _uniform(count, _INSIDE_MOUTH, 0.0, 10.0, Parsing.MOUTH)


def hair_material(strand: np.ndarray, tip: np.ndarray, subject: Subject) -> Material:
    """Hair with lighter and darker strands. strand, tip: [M, 3] and [M] as in `hair.HairMesh`."""
    material = _uniform(len(strand), subject.hair_color, 0.0, 1.0, Parsing.HAIR)
    color = linear(subject.hair_color)
    if subject.hair.curly:
        curls = fractal_noise(strand * 34.0, 3, subject.seed + 71)
        contrast = 0.5 if subject.hair.top_mm < 10 else 1.0
        factor = 1 + contrast * (1.1 * smooth_step(curls, 0.2, 0.8) - 0.55)
    else:
        coarse = value_noise(strand * [13, 13, 1.2], subject.seed + 72)
        fine = value_noise(strand * [46, 46, 2.5], subject.seed + 73)
        finest = value_noise(strand * [110, 110, 4], subject.seed + 74)
        factor = 0.35 + 0.55 * coarse + 0.5 * fine + 0.3 * finest
        factor = factor * (1.0 + 0.25 * tip)
        material.specular = 0.35 * np.clip(0.3 + fine, 0, 1)
    material.albedo = color * factor[:, None] + 0.02 * (factor[:, None] - 0.6).clip(0)
    return material


def cloth_material(coords: np.ndarray, subject: Subject) -> Material:
    """A knitted collar and plain, striped or ribbed cloth. coords: [M, 3] mm from the root joint."""
    x, height, _ = coords.T
    material = _uniform(len(coords), subject.cloth_color, 0.02, 8.0, Parsing.CLOTH)
    color = linear(subject.cloth_color)
    weave = 0.9 + 0.2 * fractal_noise(coords / [5.0, 5.0, 5.0], 2, subject.seed + 81)
    folds = 0.86 + 0.28 * fractal_noise(coords / [60.0, 110.0, 60.0], 2, subject.seed + 82)
    factor = weave * folds
    if subject.pattern == "stripes":
        stripe = smooth_step(np.abs((height / 34.0) % 1.0 - 0.5), 0.28, 0.31)
        material.albedo = _mix(
            material.albedo, 0.75 * np.ones(3) if color.mean() < 0.3 else 0.25 * color, 0.85 * stripe
        )
    if subject.pattern == "ribs":
        factor = factor * (0.85 + 0.15 * np.cos(2 * np.pi * x / 7.0))
    collar = smooth_step(height, COLLAR_ABOVE_MM - 1, COLLAR_ABOVE_MM + 1)
    rib = 0.80 + 0.15 * np.cos(np.arctan2(coords[:, 2], x) * 90)
    factor = factor * (1 - collar) + 0.8 * rib * collar
    material.albedo *= factor[:, None]
    return material
