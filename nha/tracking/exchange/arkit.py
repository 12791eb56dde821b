"""ARKit's 52 coefficients of a tracking, measured on the mesh, as a table of Live Link Face.

FLAME's expressions are not ARKit's: each coefficient is read from the angles of jaw and eyes, or from how far landmarks
move in the head's own axes. Coefficients that the landmarks do not show (tongue, cheeks, ...) are 0.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch

from nha.core.conventions import EYE_CLOSURE_PAIRS, OUTER_EYE_CORNERS
from nha.core.rotations import rotation_matrix
from nha.core.system import atomic_path
from nha.data.tracking_file import TrackingResult
from nha.head.joint_limits import eyes_angles, jaw_angles, neck_angles
from nha.head.model import HeadModel

_SIDES = ("Left", "Right")
_EYE = [f"Eye{what}" for what in ("Blink", "LookDown", "LookIn", "LookOut", "LookUp", "Squint", "Wide")]
BLENDSHAPES: tuple[str, ...] = (
    *(f"{name}Left" for name in _EYE),
    *(f"{name}Right" for name in _EYE),
    *(
        "JawForward",
        "JawRight",
        "JawLeft",
        "JawOpen",
        "MouthClose",
        "MouthFunnel",
        "MouthPucker",
        "MouthRight",
    ),
    *("MouthLeft", "MouthSmileLeft", "MouthSmileRight", "MouthFrownLeft", "MouthFrownRight"),
    *("MouthDimpleLeft", "MouthDimpleRight", "MouthStretchLeft", "MouthStretchRight", "MouthRollLower"),
    *("MouthRollUpper", "MouthShrugLower", "MouthShrugUpper", "MouthPressLeft", "MouthPressRight"),
    *("MouthLowerDownLeft", "MouthLowerDownRight", "MouthUpperUpLeft", "MouthUpperUpRight"),
    *("BrowDownLeft", "BrowDownRight", "BrowInnerUp", "BrowOuterUpLeft", "BrowOuterUpRight"),
    *("CheekPuff", "CheekSquintLeft", "CheekSquintRight", "NoseSneerLeft", "NoseSneerRight", "TongueOut"),
)
"""Names of the 52 coefficients in the order of Live Link Face's files."""

ROTATIONS = tuple(
    f"{part}{axis}" for part in ("Head", "LeftEye", "RightEye") for axis in ("Yaw", "Pitch", "Roll")
)

# Full deflections: angles in degrees, movements as fractions of the distance between the outer corners of the eyes.
_JAW_OPEN_DEG, _LOOK_DEG = 25.0, 30.0
_SMILE, _FROWN, _PUCKER, _BROW_UP, _BROW_DOWN, _WIDE = 0.12, 0.08, 0.15, 0.12, 0.06, 0.4
_MOUTH_CORNERS = {"Right": 48, "Left": 54}  # of the person
_BROWS = {"Right": (17, 19), "Left": (24, 26)}  # the outer half of each
_INNER_BROWS = (21, 22)


def arkit_coefficients(tracking: TrackingResult, head: HeadModel) -> dict[str, np.ndarray]:
    """The 52 coefficients [F] in 0..1 and nine angles [F] in radians of a tracking, by their names."""
    params = tracking.params_for(tracking.frame)
    rest = head.neutral_params(1)
    still = rest.replace(shape=params.shape[:1])
    fixed = {name: value.expand(len(params), -1) for name, value in vars(rest).items()}
    posed = type(params)(**{**fixed, "shape": params.shape, "expr": params.expr})
    ids = torch.arange(68)
    neutral, moved = head.plain_landmarks(still, ids)[0].numpy(), head.plain_landmarks(posed, ids).numpy()
    unit = np.linalg.norm(neutral[OUTER_EYE_CORNERS[0]] - neutral[OUTER_EYE_CORNERS[1]])
    shift = (moved - neutral) / unit

    values = {name: np.zeros(len(params)) for name in BLENDSHAPES}
    values["JawOpen"] = np.degrees(jaw_angles(params.jaw)[:, 0].numpy()) / _JAW_OPEN_DEG
    _add_mouth(values, shift, moved, neutral)
    _add_brows(values, shift)
    _add_lids(values, moved, neutral)
    eyes = eyes_angles(params.eyes).numpy()
    _add_gaze(values, np.degrees(eyes))
    return {name: value.clip(0, 1) for name, value in values.items()} | _rotations(params, eyes)


def write_arkit_csv(path: Path, tracking: TrackingResult, head: HeadModel, frame_rate: float) -> Path:
    """Write the coefficients as Live Link Face does: time code, number of coefficients, 52 of them, nine angles."""
    values = arkit_coefficients(tracking, head)
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["Timecode", "BlendShapeCount", *BLENDSHAPES, *ROTATIONS])
        for row, frame_id in enumerate(tracking.frame.tolist()):
            numbers = [f"{values[name][row]:.6f}" for name in (*BLENDSHAPES, *ROTATIONS)]
            writer.writerow([_time_code(frame_id, frame_rate), len(BLENDSHAPES) + len(ROTATIONS), *numbers])
    return path


def _add_mouth(
    values: dict[str, np.ndarray], shift: np.ndarray, moved: np.ndarray, neutral: np.ndarray
) -> None:
    for side, corner in _MOUTH_CORNERS.items():
        up = shift[:, corner, 1]
        values[f"MouthSmile{side}"] = up / _SMILE
        values[f"MouthFrown{side}"] = -up / _FROWN
        outwards = shift[:, corner, 0] * (1 if side == "Left" else -1)
        values[f"MouthStretch{side}"] = np.where(up < 0.02, outwards, 0) / _SMILE
    width = np.linalg.norm(moved[:, 54] - moved[:, 48], axis=1) / np.linalg.norm(neutral[54] - neutral[48])
    values["MouthPucker"] = (1 - width) / _PUCKER / 2
    sideways = shift[:, [48, 54, 51, 57], 0].mean(1)
    values["MouthLeft"], values["MouthRight"] = sideways / _SMILE, -sideways / _SMILE


def _add_brows(values: dict[str, np.ndarray], shift: np.ndarray) -> None:
    values["BrowInnerUp"] = shift[:, _INNER_BROWS, 1].mean(1) / _BROW_UP
    for side, (first, last) in _BROWS.items():
        up = shift[:, first : last + 1, 1].mean(1)
        values[f"BrowOuterUp{side}"], values[f"BrowDown{side}"] = up / _BROW_UP, -up / _BROW_DOWN


def _add_lids(values: dict[str, np.ndarray], moved: np.ndarray, neutral: np.ndarray) -> None:
    for side, pairs in (("Right", EYE_CLOSURE_PAIRS[:2]), ("Left", EYE_CLOSURE_PAIRS[2:])):
        upper, lower = (list(ids) for ids in zip(*pairs, strict=True))
        opening = np.linalg.norm(moved[:, upper] - moved[:, lower], axis=2).mean(1)
        opening = opening / np.linalg.norm(neutral[upper] - neutral[lower], axis=1).mean()
        values[f"EyeBlink{side}"], values[f"EyeWide{side}"] = 1 - opening, (opening - 1) / _WIDE


def _add_gaze(values: dict[str, np.ndarray], eyes_deg: np.ndarray) -> None:
    """Positive rotation about x looks down, about y to the person's left."""
    for i, side in enumerate(_SIDES):
        down, left = eyes_deg[:, 3 * i] / _LOOK_DEG, eyes_deg[:, 3 * i + 1] / _LOOK_DEG
        outwards = left if side == "Left" else -left
        values[f"EyeLookDown{side}"], values[f"EyeLookUp{side}"] = down, -down
        values[f"EyeLookOut{side}"], values[f"EyeLookIn{side}"] = outwards, -outwards


def _rotations(params, eyes: np.ndarray) -> dict[str, np.ndarray]:
    """Yaw (to the person's left), pitch (down) and roll of head and eyes in radians."""
    facing = torch.diag(torch.tensor([-1.0, 1.0, -1.0]))  # the head's axes when it looks into the camera
    head = facing @ rotation_matrix(params.rotation) @ rotation_matrix(neck_angles(params.neck))
    matrices = {
        "Head": head.numpy(),
        "LeftEye": rotation_matrix(torch.from_numpy(eyes[:, :3])).numpy(),
        "RightEye": rotation_matrix(torch.from_numpy(eyes[:, 3:])).numpy(),
    }
    angles = {}
    for part, m in matrices.items():
        angles[f"{part}Yaw"] = np.arctan2(m[:, 0, 2], m[:, 2, 2])
        angles[f"{part}Pitch"] = -np.arcsin(m[:, 1, 2].clip(-1, 1))
        angles[f"{part}Roll"] = np.arctan2(m[:, 1, 0], m[:, 1, 1])
    return angles


def _time_code(frame_id: int, frame_rate: float) -> str:
    seconds, frame = divmod(frame_id, max(1, round(frame_rate)))
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}:{frame:02d}"
