"""Motion of the subject: head turns to both profiles, nods, rolls, speech, blinks, smiles, gaze shifts."""

from __future__ import annotations

import math

import numpy as np
import torch

from nha.core.rotations import rotation_matrix, rotation_vector
from nha.core.types import HeadParams
from nha.head import joint_limits
from nha.head.assets import HeadAssets
from nha.synthetic.noise import smooth_step
from nha.synthetic.subject import subject_rng

PROFILE_YAW_DEG = 70.0
# The neck's share of each rotation; the rest is the global rotation.
NECK_SHARE = np.array([0.65, 0.55, 0.6])  # nod, turn, roll
_VISEMES = (
    {"lips_part": 1.0, "stretch": 0.8},  # ee
    {"pucker": 1.3, "funnel": 0.6},  # oo
    {"funnel": 1.0, "lips_part": 0.6},  # oh
    {"lips_press": 1.0},  # m
    {"lower_lip_roll_in": 1.0, "upper_lip_raise": 0.5},  # f
    {"upper_lip_raise": 0.8, "lower_lip_lower": 0.8},  # a
)
_VISEME_JAW = (0.35, 0.25, 0.7, -0.1, 0.05, 1.0)
_UNNAMED_EXPRESSIONS = 12  # for head models whose directions have no names
_UNNAMED_SHAPES = 20
_BLINK, _LID_OPENING_SHARE = 1.6, 0.18  # a coefficient of 1.5 closes an average eye; wider eyes need more
_SLIM = {
    "neck_width": -1.3,
    "jaw_width": -0.7,
    "jaw_angle_height": -0.5,
    "chin_width": -0.6,
    "brow_ridge": -0.9,
    "brow_height": 0.5,
    "lid_opening": 1.0,
    "eye_size": 0.7,
    "nose_width": -0.6,
    "upper_lip_fullness": -0.2,
    "lower_lip_fullness": 0.0,
    "head_size": -0.5,
}
_STRONG = {
    "neck_width": 0.1,
    "jaw_width": 0.5,
    "chin_width": 0.5,
    "brow_ridge": 0.4,
    "lid_opening": 0.6,
    "head_size": 0.2,
}


def sample_identity(assets: HeadAssets, seed: int, slim: bool = False) -> np.ndarray:
    """Sample identity coefficients from a clipped standard normal distribution.

    Args:
        assets: the head model.
        seed: the seed of the subject.
        slim: use the mean of a slender instead of a strong build.

    Returns:
        float32 [S], zero for directions without names if the model has names.
    """
    rng = subject_rng(seed, "identity")
    used = len(assets.shape_names) or _UNNAMED_SHAPES
    shape = np.zeros(assets.shape_directions.shape[2], np.float32)
    shape[:used] = np.clip(rng.standard_normal(used), -1.8, 1.8)
    # The features of a build are correlated.
    build = _SLIM if slim else _STRONG
    # Real heads are less asymmetric than the model allows.
    for i, name in enumerate(assets.shape_names):
        if "asymmetry" in name:
            shape[i] *= 0.6
        if name in build:
            shape[i] = 0.6 * shape[i] + build[name]
    return shape


def head_motion(
    assets: HeadAssets, shape: np.ndarray, n_frames: int, seed: int, root: np.ndarray
) -> HeadParams:
    """Parameters of all frames. In frame 0 the neutral face looks into the camera.

    Args:
        assets: the head model.
        shape: [S] identity coefficients.
        n_frames: the number of frames.
        seed: the seed of the subject.
        root: [3] rest position of the head's root joint, world metres.
    """
    time = np.arange(n_frames) / max(n_frames - 1, 1)
    rng = subject_rng(seed, "motion")
    angles_deg = _head_angles(time, rng)  # nod, turn, roll
    rotation, neck = _split_rotation(np.radians(angles_deg))
    widened = dict(zip(assets.shape_names, shape, strict=False)).get("lid_opening", 0.0)
    closed_lid_coefficient = _BLINK * (1 + _LID_OPENING_SHARE * max(float(widened), 0.0))
    expr, jaw_rad, lids_down = _expressions(assets, time, closed_lid_coefficient, rng)
    eyes = _gaze(time, angles_deg, lids_down, rng)
    sway = np.stack([0.010 * np.sin(2 * np.pi * time * f) for f in (1.0, 1.6, 1.3)], -1) * _ease_in(time)
    jaw = np.stack([jaw_rad, np.zeros_like(jaw_rad), np.zeros_like(jaw_rad)], -1)
    to_params = joint_limits.params_from_angles
    return HeadParams(
        shape=torch.from_numpy(shape).repeat(n_frames, 1),
        expr=torch.from_numpy(expr.astype(np.float32)),
        rotation=rotation,
        translation=torch.from_numpy((root + sway * [1, 0.6, 1.5]).astype(np.float32)),
        neck=to_params(neck, joint_limits.NECK_LIMITS_DEG),
        jaw=to_params(torch.from_numpy(jaw.astype(np.float32)), joint_limits.JAW_LIMITS_DEG),
        eyes=to_params(torch.from_numpy(eyes.astype(np.float32)), joint_limits.EYES_LIMITS_DEG),
    )


def _ease_in(time: np.ndarray) -> np.ndarray:
    return smooth_step(time, 0.0, 0.1)[:, None]


def _bump(time: np.ndarray, centre: float, half_width: float) -> np.ndarray:
    """A raised cosine of height 1 that is zero beyond `half_width` from the centre."""
    return 0.5 + 0.5 * np.cos(np.pi * np.clip((time - centre) / half_width, -1, 1))


def _head_angles(time: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Nod, turn and roll of the head [F, 3] in degrees."""
    side = rng.choice([-1.0, 1.0])
    first, second = 0.27 + rng.uniform(-0.02, 0.02), 0.70 + rng.uniform(-0.02, 0.02)
    turn = PROFILE_YAW_DEG * side * (_bump(time, first, 0.20) - _bump(time, second, 0.20))
    turn += 6 * np.sin(2 * np.pi * (2.3 * time + rng.uniform())) * _bump(time, 0.5, 0.45)
    nod = 15 * _bump(time, 0.50, 0.06) - 12 * _bump(time, 0.44, 0.05) + 9 * _bump(time, 0.80, 0.06)
    nod += 4 * np.sin(2 * np.pi * 1.7 * time) * _bump(time, 0.55, 0.5)
    roll = 13 * side * (_bump(time, 0.49, 0.10) - _bump(time, 0.88, 0.10))
    roll += 5 * np.sin(2 * np.pi * (1.2 * time + rng.uniform())) * _bump(time, 0.5, 0.5)
    turn = np.clip(turn, -PROFILE_YAW_DEG, PROFILE_YAW_DEG)
    angles = np.stack([nod, turn, roll], -1)
    return angles - angles[:1]


def _split_rotation(angles_rad: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Global rotation vectors and neck angles, each [F, 3] radians, for nod, turn and roll [F, 3]."""
    neck = torch.from_numpy((angles_rad * NECK_SHARE).astype(np.float32))
    body = torch.from_numpy((angles_rad * (1 - NECK_SHARE)).astype(np.float32))
    facing_camera = rotation_matrix(torch.tensor([0.0, math.pi, 0.0]))
    vector = rotation_vector(facing_camera @ rotation_matrix(body))
    # Of the two vectors of a rotation, the one nearer to (0, pi, 0) avoids a jump at half a turn.
    length = vector.norm(dim=-1, keepdim=True).clamp_min(1e-6)
    other = vector - 2 * math.pi * vector / length
    nearer = (vector[:, 1:2] < 0).expand_as(vector)
    return torch.where(nearer, other, vector), neck


def _gaze(
    time: np.ndarray, angles_deg: np.ndarray, lids_down: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Eye angles [F, 6] in radians (left, right): partly towards the camera, with gaze shifts."""
    turn = np.clip(-0.30 * angles_deg[:, 1], -20, 20)
    look = np.clip(-0.35 * angles_deg[:, 0], -10, 10)
    for centre in (0.12, 0.36, 0.58, 0.82):
        hold = smooth_step(time, centre - 0.03, centre) * smooth_step(time, centre + 0.08, centre + 0.05)
        turn = turn + hold * rng.uniform(-16, 16)
        look = look + hold * rng.uniform(-7, 9)
    look = look + 4 * lids_down
    one = np.stack([look, turn, np.zeros_like(turn)], -1)
    return np.radians(np.concatenate([one, one], -1))


class _Face:
    """Sum of expression coefficients by name; a name without a side applies to both sides."""

    def __init__(self, names: tuple[str, ...], n_frames: int, n_expr: int):
        self.columns = {name: i for i, name in enumerate(names)}
        self.expr = np.zeros((n_frames, n_expr))

    def add(self, name: str, strength: np.ndarray) -> None:
        for full in (name, f"{name}_left", f"{name}_right"):
            if full in self.columns:
                self.expr[:, self.columns[full]] += strength


def _expressions(
    assets: HeadAssets, time: np.ndarray, closed_lid_coefficient: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Expression coefficients [F, E], jaw angles [F] in radians, and the closure [F] of the lids in 0..1.

    closed_lid_coefficient: the coefficient of "blink" that closes this person's eyes.
    """
    n_frames = len(time)
    face = _Face(assets.expression_names, n_frames, assets.expression_directions.shape[2])
    smile = _bump(time, 0.09, 0.07) * 0.8 + _bump(time, 0.92, 0.09) + 0.8 * _bump(time, 0.45, 0.07)
    talking = (
        smooth_step(time, 0.14, 0.18) * (1 - smooth_step(time, 0.82, 0.86)) * (1 - 0.6 * np.clip(smile, 0, 1))
    )
    jaw = np.zeros(n_frames)
    n_syllables = 14
    starts = 0.13 + (np.arange(n_syllables) + rng.uniform(-0.2, 0.2, n_syllables)) * 0.72 / n_syllables
    for centre, sound in zip(starts, rng.permutation(np.arange(n_syllables) % len(_VISEMES)), strict=True):
        strength = _bump(time, centre, 0.038) * talking * rng.uniform(0.8, 1.2)
        jaw += _VISEME_JAW[sound] * strength * 11
        for name, amount in _VISEMES[sound].items():
            face.add(name, amount * strength)
    jaw += 13 * _bump(time, 0.57, 0.035)  # the mouth is wide open once
    face.add("lips_part", 0.8 * _bump(time, 0.57, 0.035))

    face.add("smile", 1.9 * smile)
    face.add("cheek_raise", 0.9 * smile)
    face.add("upper_lip_raise", 1.0 * smile)
    face.add("lower_lip_lower", 0.6 * smile)
    face.add("lips_part", 0.7 * smile)
    surprise = _bump(time, 0.33, 0.07) + _bump(time, 0.6, 0.06)
    face.add("brow_inner_raise", 1.5 * surprise)
    face.add("brow_outer_raise", 1.5 * surprise)
    face.add("brow_lower", 1.3 * _bump(time, 0.76, 0.07))
    face.add("brow_knit", 0.8 * _bump(time, 0.76, 0.07))
    lids_down = np.zeros(n_frames)
    for centre in (0.16, 0.40, 0.53, 0.66, 0.86):
        lids_down = np.maximum(lids_down, _bump(time, centre, 0.035))
    face.add("blink", closed_lid_coefficient * lids_down)
    if not assets.expression_names:
        face.expr += _unnamed_expressions(time, face.expr.shape[1], rng)
    return face.expr, np.radians(np.clip(jaw, -1.0, 20.0)), lids_down


def _unnamed_expressions(time: np.ndarray, n_expr: int, rng: np.random.Generator) -> np.ndarray:
    """Smooth random coefficients [F, E] for head models whose directions have no names."""
    frequency = rng.uniform(1.0, 4.0, _UNNAMED_EXPRESSIONS)
    wave = np.sin(2 * np.pi * time[:, None] * frequency) * _ease_in(time)
    expr = np.zeros((len(time), n_expr))
    expr[:, :_UNNAMED_EXPRESSIONS] = 0.7 * wave * rng.standard_normal(_UNNAMED_EXPRESSIONS)
    return expr
