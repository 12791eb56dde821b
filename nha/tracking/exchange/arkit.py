"""ARKit's 52 coefficients of a tracking as a table of Live Link Face; the map is that of `nha.head.arkit_map`."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch

from nha.core.rotations import rotation_matrix
from nha.core.system import atomic_path
from nha.core.types import HeadParams
from nha.data.tracking_file import TrackingResult
from nha.head.arkit_map import ArkitMap
from nha.head.arkit_shapes import ARKIT_NAMES
from nha.head.joint_limits import eyes_angles, neck_angles
from nha.head.model import HeadModel

BLENDSHAPES: tuple[str, ...] = tuple(name[0].upper() + name[1:] for name in ARKIT_NAMES)
"""Names of the 52 coefficients in the order of Live Link Face's files."""

ROTATIONS = tuple(
    f"{part}{axis}" for part in ("Head", "LeftEye", "RightEye") for axis in ("Yaw", "Pitch", "Roll")
)


def arkit_coefficients(tracking: TrackingResult, head: HeadModel) -> dict[str, np.ndarray]:
    """The 52 coefficients [F] in 0..1 and nine angles [F] in radians of a tracking, by their names."""
    params = tracking.params_for(tracking.frame)
    table = ArkitMap(head, params.shape[0]).coefficients(params).double().numpy()
    return dict(zip(BLENDSHAPES, table.T, strict=True)) | _rotations(params, eyes_angles(params.eyes).numpy())


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


def _rotations(params: HeadParams, eyes: np.ndarray) -> dict[str, np.ndarray]:
    """Yaw (to the person's left), pitch (down) and roll of head and eyes in radians; eyes: angles [F, 6]."""
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
