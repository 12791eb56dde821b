"""Expression directions: movements by groups of facial muscles, of natural strength at coefficient 1."""

from __future__ import annotations

import numpy as np

from nha.head.procedural.fields import SIDES, FieldMaker, lid_displacement

# The coefficient at which the eye is closed.
BLINK_CLOSED_AT = 1.5


def _mouth_sides(make: FieldMaker, side: str) -> dict[str, np.ndarray]:
    upper, lower = 1.0 - make.lower_side, make.lower_side
    corner = (24, -39, 60)
    return {
        f"smile_{side}": make.push(corner, (33, 30, 38), (3.7, 3.7, -2.2), side)
        + make.push((40, -12, 48), (24, 24, 30), (0.8, 2.4, 2.2), side),
        f"frown_{side}": make.push(corner, (22, 26, 32), (0.6, -3.0, -0.6), side),
        f"stretch_{side}": make.push(corner, (26, 24, 34), (3.4, -0.8, -2.2), side),
        f"dimple_{side}": make.push((32, -38, 54), (14, 14, 20), (0.6, 0.3, -1.8), side),
        f"upper_lip_raise_{side}": make.push((13, -32, 68), (18, 17, 26), (0, 2.8, 0.4), side, upper)
        + make.push((17, -12, 64), (14, 17, 20), (0.5, 1.5, 0.4), side),
        f"lower_lip_lower_{side}": make.push((13, -46, 66), (20, 18, 26), (0, -2.8, 0.2), side, lower),
        f"cheek_puff_{side}": make.push((42, -34, 44), (26, 26, 32), (3.6, 0, 3.0), side),
    }


def _mouth(make: FieldMaker) -> dict[str, np.ndarray]:
    x, y, z = make.points.T
    upper, lower = 1.0 - make.lower_side, make.lower_side
    reach = np.clip(1.0 - (np.abs(x) / 27.0) ** 2, 0, None)
    roll = make.near_lips * reach
    narrow = make.push((24, -39, 60), (28, 26, 34), (-4.2, 0, 1.6))
    forward = make.push((0, -39, 70), (32, 22, 32), (0, 0, 3.4), "middle")
    part = (roll * (upper - lower))[:, None] * np.array([0.0, 1.0, 0.0])
    fields = {
        "pucker": narrow + forward,
        "funnel": 0.55 * narrow + 1.1 * forward + 2.0 * part,
        "lips_part": 2.0 * part,
        "lips_press": part * np.array([0, -0.9, 0]) * (np.abs(y + 39.0) > 1.2)[:, None]
        + (roll[:, None] * np.array([0, 0, -1.6])),
        "upper_lip_roll_in": (roll * upper)[:, None] * np.array([0, -0.4, -1.9]),
        "lower_lip_roll_in": (roll * lower)[:, None] * np.array([0, 0.4, -1.9]),
        "mouth_shift": make.push((0, -40, 62), (44, 28, 46), (3.0, 0, 0), "middle"),
        "jaw_shift": make.push((0, -62, 44), (62, 44, 76), (3.0, 0, 0), "middle", lower),
        "jaw_thrust": make.push((0, -62, 50), (56, 40, 66), (0, 0, 3.2), "middle", lower),
        "chin_raise": make.push((0, -66, 62), (26, 24, 30), (0, 2.8, 1.0), "middle", lower)
        + make.push((0, -40, 68), (28, 14, 28), (0, 1.5, 0.5), "middle"),
    }
    return fields


def _upper_face_sides(make: FieldMaker, side: str) -> dict[str, np.ndarray]:
    def keep(field: np.ndarray) -> np.ndarray:
        still = np.ones(len(field))
        still[make.template.eyeball(side)] = 0.0
        return field * (still * (1.0 - make.eye_hold[side]))[:, None]

    blink = lid_displacement(make.template, side)
    squint = blink * np.where(make.points[:, 1:2] < 24.0, 1.3, 0.35)
    return {
        f"blink_{side}": blink / BLINK_CLOSED_AT,
        f"squint_{side}": 0.45 * squint + keep(make.push((34, 4, 50), (28, 16, 32), (0, 2.4, 1.0), side)),
        f"cheek_raise_{side}": keep(make.push((42, -2, 46), (26, 22, 32), (0.3, 3.0, 1.8), side)),
        f"brow_inner_raise_{side}": keep(make.push((13, 47, 58), (22, 24, 30), (0, 3.6, 0), side)),
        f"brow_outer_raise_{side}": keep(make.push((46, 47, 44), (28, 24, 34), (0, 3.8, 0), side)),
        f"brow_lower_{side}": keep(make.push((22, 43, 56), (26, 20, 32), (-1.6, -3.0, 0.8), side)),
        f"sneer_{side}": make.push((13, -6, 68), (14, 18, 22), (0.6, 2.4, 0.2), side)
        + make.push((16, -28, 66), (14, 14, 22), (0, 1.6, 0.3), side, 1.0 - make.lower_side),
        f"nostril_flare_{side}": make.push((14, -9, 68), (10, 11, 16), (1.5, 0, 0), side),
    }


def expression_directions(make: FieldMaker) -> dict[str, np.ndarray]:
    """The expression directions by name, each [V, 3] in mm at coefficient 1."""
    fields: dict[str, np.ndarray] = {}
    groups = [_mouth_sides(make, side) for side in SIDES] + [_mouth(make)]
    groups += [_upper_face_sides(make, side) for side in SIDES]
    for group in groups:
        fields.update(group)
    centre = make.push((0, 44, 64), (14, 16, 22), (0, -1.4, 0.8), "middle")
    wrinkle = make.push((0, 22, 66), (16, 16, 20), (0, 1.4, 0.9), "middle")
    fields["brow_knit"] = make.push((14, 44, 58), (20, 18, 28), (-2.2, -0.6, 0.6)) + centre
    fields["nose_wrinkle"] = wrinkle + make.push((14, -4, 68), (14, 18, 22), (0, 1.6, 0))
    fields["throat_tense"] = make.push((22, -112, 12), (26, 36, 40), (1.2, 0, 1.6))
    eyes = np.concatenate([make.template.eyeball(side) for side in SIDES])
    for field in fields.values():
        field[eyes] = 0.0
    return fields
