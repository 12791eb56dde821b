"""Tracking files without a camera: enough to drive an avatar, because only changes of the motion are transferred."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nha.core.errors import UserError
from nha.data.foreign_tracking import foreign_program

# Where a head without a camera is shown: one metre in front of a camera of this focal length and size.
_FOCAL, _SIZE_PX, _DISTANCE_M = 2.5, 512, 1.0
_CLOSED_JAW = float(np.arctanh(2 * 5 / 65 - 1))  # the parameter of angle 0, see `nha.head.joint_limits`


def with_camera(arrays: Mapping[str, np.ndarray], path: Path) -> dict[str, np.ndarray]:
    """The arrays of a tracking file, completed by a camera in front of the head and by joints at rest.

    Args:
        arrays: at least `expr` [F, E].
        path: for messages.

    Raises:
        UserError: there is no motion in the file.
    """
    if "expr" not in arrays or np.ndim(arrays["expr"]) != 2:
        raise UserError(
            f"'{path}' holds no motion: it lacks expr, expression coefficients [frames, coefficients]"
        )
    n = len(arrays["expr"])
    complete = {
        "rotation": np.zeros((n, 3), np.float32),
        "translation": np.zeros((n, 3), np.float32),
        "neck_pose": np.zeros((n, 3), np.float32),
        "jaw_pose": np.tile(np.float32([_CLOSED_JAW, 0, 0]), (n, 1)),
        "eyes_pose": np.zeros((n, 6), np.float32),
        "shape": np.zeros(300, np.float32),
        **arrays,
    }
    if {"K", "image_size"} <= set(arrays):
        return complete
    complete |= {"K": np.float32([_FOCAL, 0.5, 0.5]), "image_size": np.array([_SIZE_PX, _SIZE_PX])}
    complete["RT"] = _camera_in_front(complete["rotation"], complete["translation"])
    return complete


def incomplete_file(path: Path, arrays: Mapping[str, np.ndarray], missing: list[str]) -> UserError:
    """The error for a tracking file that lacks entries: another program's, or one without a camera."""
    if program := foreign_program(arrays):
        return UserError(f"'{path}' is a tracking file of {program.name}: {program.remedy}")
    if set(missing) <= {"K", "image_size"}:
        return UserError(
            f"'{path}' has no camera ({', '.join(missing)} missing): it can drive an avatar "
            "(--driving_tracking_results), but not be trained on or evaluated"
        )
    return UserError(f"'{path}' is not a tracking file: it lacks {', '.join(missing)}")


def _camera_in_front(rotation: np.ndarray, translation: np.ndarray) -> np.ndarray:
    """Extrinsics [3, 4] of a camera that sees the heads from the front; at rotation 0 a head looks along +z."""
    angle = np.linalg.norm(rotation, axis=1)
    axis_z = rotation[:, 2] / np.maximum(angle, 1e-9)
    forward = np.mean(np.cos(angle) + axis_z**2 * (1 - np.cos(angle)))  # z of the rotated z axis
    turn = np.diag([-1.0, 1.0, -1.0]) if forward > 0 else np.eye(3)
    centre = np.mean(translation, 0) @ turn
    offset = np.array([0.0, -0.1, _DISTANCE_M]) - centre
    return np.concatenate([turn, offset[:, None]], 1).astype(np.float32)
