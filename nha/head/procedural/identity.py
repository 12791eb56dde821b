"""Identity directions: differences between heads, each of one standard deviation."""

from __future__ import annotations

import numpy as np

from nha.head.procedural.fields import FieldMaker, lid_displacement
from nha.head.procedural.sculpt import smooth_step


def _whole_head(make: FieldMaker) -> dict[str, np.ndarray]:
    p = make.points
    x, y, z = p.T
    above_neck = smooth_step(y, -120.0, -70.0)
    zero = np.zeros_like(x)
    fields = {
        "head_size": 0.028 * (p - np.array([0.0, -110.0, -38.0])) * smooth_step(y, -190.0, -60.0)[:, None],
        "head_width": np.stack([0.035 * x * above_neck, zero, zero], -1),
        "head_length": np.stack([zero, zero, 0.032 * (z + 15.0) * above_neck], -1),
        "skull_height": np.stack(
            [zero, 0.055 * np.clip(y - 38.0, 0, None) * smooth_step(y, 38, 80), zero], -1
        ),
        "face_length": np.stack(
            [
                zero,
                0.055 * np.clip(y - 18.0, -105.0, 0.0) * smooth_step(z, -50, 15) * smooth_step(y, -140, -95),
                zero,
            ],
            -1,
        ),
        "face_taper": np.stack([0.0007 * x * np.clip(y - 10.0, -95.0, 75.0) * above_neck, zero, zero], -1),
        "forehead_slope": np.stack(
            [
                zero,
                zero,
                -0.075 * np.clip(y - 44.0, 0, None) * smooth_step(z, -30, 30) * smooth_step(-y, -128, -70),
            ],
            -1,
        ),
        "forehead_width": make.push((58, 66, 15), (36, 44, 52), (3.0, 0, 0)),
        "temple_fullness": make.push((70, 40, 18), (26, 30, 34), (2.4, 0, 0.4)),
        "occiput": make.push((0, 20, -125), (75, 70, 62), (0, 0, -5.0), "middle"),
        "crown": make.push((0, 126, -45), (85, 70, 70), (0, 5.0, 0), "middle"),
        "neck_width": np.stack([0.07 * x, zero, 0.06 * (z + 40.0)], -1) * smooth_step(-y, 62, 112)[:, None],
        "throat": make.push((0, -106, 18), (46, 34, 50), (0, -4.0, 3.0), "middle"),
    }
    return fields


def _jaw_and_cheeks(make: FieldMaker) -> dict[str, np.ndarray]:
    return {
        "jaw_width": make.push((56, -48, 0), (34, 42, 48), (3.4, 0, 0)),
        "jaw_angle_height": make.push((54, -52, -6), (30, 34, 36), (0.6, -4.0, -1.0)),
        "jaw_forward": make.push((0, -62, 52), (52, 42, 62), (0, 0, 3.4), "middle"),
        "chin_height": make.push((0, -84, 52), (42, 32, 48), (0, -4.0, 0), "middle"),
        "chin_width": make.push((16, -74, 52), (26, 24, 34), (3.0, 0, 0)),
        "chin_point": make.push((0, -74, 62), (26, 20, 28), (0, 0, 3.2), "middle"),
        "chin_cleft": make.push((0, -74, 66), (7, 12, 16), (0, 0, -1.3), "middle"),
        "cheekbone_width": make.push((60, 2, 26), (32, 32, 44), (3.0, 0, 0.8)),
        "cheekbone_height": make.push((48, 2, 42), (30, 28, 34), (0, 3.0, 1.0)),
        "cheek_fullness": make.push((46, -30, 38), (34, 34, 40), (2.8, 0, 2.2)),
        "nasolabial_fold": make.push((27, -20, 60), (12, 20, 20), (0, 0, 1.5))
        - make.push((35, -28, 54), (11, 20, 20), (0, 0, 1.0)),
    }


def _brows_and_eyes(make: FieldMaker) -> dict[str, np.ndarray]:
    fields = {
        "brow_ridge": make.push((26, 44, 58), (34, 16, 34), (0, 0, 2.6))
        + make.push((0, 46, 64), (14, 16, 24), (0, 0, 1.0), "middle"),
        "brow_height": make.push((32, 47, 52), (34, 18, 36), (0, 3.0, 0)),
        "eye_spacing": make.push((31.5, 25, 48), (30, 30, 44), (1.7, 0, 0)),
        "eye_depth": make.push((31.5, 25, 48), (32, 28, 44), (0, 0, -1.9)),
        "eye_level": make.push((31.5, 25, 48), (34, 30, 44), (0, 2.0, 0)),
        "under_eye": make.push((31, 9, 52), (22, 11, 26), (0, 0, 1.6)),
    }
    fields["eye_size"] = sum(make.eye_only(side, 0.045) for side in ("left", "right"))
    fields["lid_opening"] = -0.16 * (
        lid_displacement(make.template, "left") + lid_displacement(make.template, "right")
    )
    tilt = np.zeros_like(make.points)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        arm = make.points - make.template.vertices[make.template.eyeball(side)].mean(0)
        lids = make.eye_hold[side] * (np.arange(len(arm)) < make.template.n_skin)
        turn = np.radians(3.0) * sign * lids
        tilt += np.stack([-turn * arm[:, 1], turn * arm[:, 0], np.zeros(len(arm))], -1)
    fields["eye_tilt"] = tilt
    return fields


def _nose(make: FieldMaker) -> dict[str, np.ndarray]:
    return {
        "nose_length": make.push((0, -6, 74), (24, 26, 40), (0, -2.6, 0), "middle"),
        "nose_projection": make.push((0, -3, 80), (22, 24, 32), (0, 0, 3.2), "middle"),
        "nose_width": make.push((14, -8, 68), (15, 15, 22), (2.2, 0, 0)),
        "nose_bridge_height": make.push((0, 22, 68), (15, 22, 24), (0, 0, 2.4), "middle"),
        "nose_bridge_width": make.push((8, 18, 64), (12, 24, 20), (1.6, 0, 0)),
        "nose_hump": make.push((0, 13, 74), (11, 11, 18), (0, 0, 1.7), "middle"),
        "nose_tip_up": make.push((0, -4, 82), (14, 15, 18), (0, 2.6, 0.6), "middle"),
        "nose_tip_round": make.scale((0, -2, 79), (20, 20, 24), (0.16, 0.12, 0.06), "middle"),
        "nostril_height": make.push((12, -10, 70), (11, 11, 16), (0, 1.8, 0)),
    }


def _mouth_and_ears(make: FieldMaker) -> dict[str, np.ndarray]:
    upper, lower = 1.0 - make.lower_side, make.lower_side
    lips = make.near_lips
    # Fullness acts on the red of the lips but not on their line of contact, which stays closed.
    red = np.zeros(len(lips))
    red[make.template.skin.mouth_rings] = np.array([0.1, 0.5, 1.0, 1.0, 0.8, 0.35, 0, 0, 0, 0])[:, None]
    flat = np.clip(1.0 - (np.abs(make.points[:, 0]) / 27.0) ** 2, 0, None)
    return {
        "mouth_width": make.push((24, -39, 60), (26, 26, 30), (2.4, 0, -0.6)),
        "mouth_height": make.push((0, -39, 64), (44, 22, 40), (0, 2.2, 0), "middle"),
        "mouth_forward": make.push((0, -39, 68), (38, 26, 36), (0, 0, 2.4), "middle"),
        "upper_lip_fullness": (red * upper * flat)[:, None] * np.array([0, 1.5, 0.9]),
        "lower_lip_fullness": (red * lower * flat)[:, None] * np.array([0, -1.7, 1.0]),
        "mouth_corner_tilt": make.push((23, -39, 60), (15, 15, 24), (0, 1.6, 0)),
        "philtrum_depth": make.push((0, -25, 72), (6, 9, 14), (0, 0, -0.9), "middle"),
        "ear_size": make.scale((78, -2, -32), (42, 52, 46), (0.06, 0.10, 0.10)),
        "ear_protrusion": make.push((96, -2, -50), (27, 50, 42), (3.6, 0, 1.6)),
        "ear_height": make.push((84, -2, -36), (34, 50, 42), (0, 3.2, 0)),
        "ear_lobe": make.push((80, -34, -28), (22, 20, 24), (0.8, -2.6, 0)),
        "jaw_asymmetry": make.push((0, -66, 44), (70, 48, 80), (1.8, 0, 0), "middle"),
        "nose_asymmetry": make.push((0, 0, 76), (22, 30, 34), (1.2, 0, 0), "middle"),
    }


def identity_directions(make: FieldMaker) -> dict[str, np.ndarray]:
    """The identity directions by name, each [V, 3] in mm for one standard deviation."""
    fields: dict[str, np.ndarray] = {}
    for group in (_whole_head, _jaw_and_cheeks, _brows_and_eyes, _nose, _mouth_and_ears):
        fields.update(group(make))
    shapes_of_the_eye = {"eye_size", "lid_opening", "eye_tilt"}
    return {
        name: field if name in shapes_of_the_eye else make.keep_eyes_round(field)
        for name, field in fields.items()
    }
