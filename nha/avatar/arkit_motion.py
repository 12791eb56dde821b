"""Motion in ARKit's 52 coefficients as head parameters: tables of Live Link Face, and single poses.

The map is that of `nha.head.arkit_map`. `docs/method.md`, section 9.
"""

from __future__ import annotations

import csv
import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nha.core.errors import UserError
from nha.core.rotations import rotation_matrix, rotation_vector
from nha.core.types import HeadParams
from nha.data.messages import some_of
from nha.data.motion import with_camera
from nha.data.origin import TrackingOrigin
from nha.data.tracking_file import TrackingResult
from nha.head.arkit_map import ArkitMap
from nha.head.arkit_shapes import ARKIT_NAMES
from nha.head.model import HeadModel

HEAD_ANGLES = ("headYaw", "headPitch", "headRoll")
FACING_CAMERA = (0.0, math.pi, 0.0)  # rotation of a head that looks at a camera with the world's axes
_TIME_CODE = "timecode"


@dataclass(frozen=True)
class ArkitRecording:
    """A recorded motion of F frames.

    Attributes:
        coefficients: [F, 52] in 0..1, in the order of ARKIT_NAMES.
        head_rad: [F, 3] yaw to the person's left, pitch down and roll; 0 where the file has none.
        frame_rate: frames per second by the time codes; None without.
    """

    coefficients: np.ndarray
    head_rad: np.ndarray
    frame_rate: float | None


def is_arkit_table(path: Path | None) -> bool:
    """Whether a motion file is a table (.csv)."""
    return path is not None and path.suffix.lower() == ".csv"


def read_arkit_csv(path: str | Path) -> ArkitRecording:
    """Read a table as Live Link Face writes it; capital letters in the column names do not matter.

    Raises:
        UserError: the file is no such table.
    """
    path = Path(path)
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"'{path}' cannot be read as a table of ARKit coefficients: {error}") from None
    columns = {name.strip().lower(): i for i, name in enumerate(rows[0])} if rows else {}
    missing = [name for name in ARKIT_NAMES if name.lower() not in columns]
    if missing:
        raise UserError(
            f"'{path}' lacks the columns {some_of(missing)}: a table of ARKit coefficients has 52 columns from "
            "EyeBlinkLeft to TongueOut, as Live Link Face writes them"
        )
    body = [row for row in rows[1:] if row]
    if not body:
        raise UserError(f"'{path}' holds no frame")
    try:
        coefficients = [[float(row[columns[name.lower()]]) for name in ARKIT_NAMES] for row in body]
        angles = [
            [float(row[columns[name.lower()]]) if name.lower() in columns else 0.0 for name in HEAD_ANGLES]
            for row in body
        ]
    except (ValueError, IndexError) as error:
        raise UserError(f"'{path}' holds a row that is not made of numbers ({error})") from None
    table, head_rad = np.array(coefficients), np.array(angles)
    if not (np.isfinite(table).all() and np.isfinite(head_rad).all()):
        raise UserError(f"'{path}' holds values that are not finite numbers")
    codes = [row[columns[_TIME_CODE]] for row in body] if _TIME_CODE in columns else []
    return ArkitRecording(table.clip(0, 1), head_rad, _frame_rate(codes))


def arkit_tracking(path: str | Path, head: HeadModel) -> TrackingResult:
    """A table of ARKit coefficients as a tracking without a camera, for driving an avatar.

    Args:
        path: see `read_arkit_csv`; its rows are the frames 0, 1, ...
        head: the head model that is driven.
    """
    recording = read_arkit_csv(path)
    coefficients = torch.from_numpy(recording.coefficients).to(head.template)
    params = ArkitMap(head).params(coefficients, head.neutral_params(1))
    arrays = {
        "expr": params.expr.cpu().numpy(),
        "rotation": _rotations(recording.head_rad),
        "jaw_pose": params.jaw.cpu().numpy(),
        "eyes_pose": params.eyes.cpu().numpy(),
    }
    complete = with_camera(arrays, Path(path))
    n = len(coefficients)
    return TrackingResult(
        frame=np.arange(n),
        **{name: complete[name] for name in ("rotation", "translation", "neck_pose", "jaw_pose")},
        **{name: complete[name] for name in ("eyes_pose", "expr", "K", "RT")},
        shape=np.zeros(head.n_shape, np.float32),
        texture=np.zeros(0, np.float32),
        light=np.zeros((n, 9, 3), np.float32),
        image_size=tuple(complete["image_size"].tolist()),
        view=tuple(str(i) for i in range(n)),
        n_processed=n,
        origin=TrackingOrigin(head.identity),
    )


def arkit_pose(head: HeadModel, shape: Tensor | None, values: Mapping[str, float] | Tensor) -> HeadParams:
    """Head parameters of ARKit coefficients; the head looks at a camera with the world's axes.

    Args:
        head: the head model.
        shape: [S] identity coefficients of the person; None: the template's.
        values: some of the 52 coefficients in 0..1 by name, or all of them [N, 52].

    Raises:
        UserError: a name is unknown.
    """
    if isinstance(values, Mapping):
        given, values = values, head.template.new_zeros(1, len(ARKIT_NAMES))
        for name, value in given.items():
            if name not in ARKIT_NAMES:
                near = difflib.get_close_matches(name, ARKIT_NAMES, n=1)
                hint = f"; did you mean '{near[0]}'?" if near else ""
                raise UserError(f"there is no ARKit coefficient '{name}'{hint}")
            values[0, ARKIT_NAMES.index(name)] = value
    neutral = head.neutral_params(1)
    neutral = neutral.replace(rotation=neutral.rotation.new_tensor([FACING_CAMERA]))
    if shape is not None:
        neutral = neutral.replace(shape=shape[None].to(neutral.shape))
    return ArkitMap(head, neutral.shape[0]).params(values.to(head.template), neutral)


def _rotations(head_rad: np.ndarray) -> np.ndarray:
    """Axis-angle rotations [F, 3] of heads with yaw, pitch and roll [F, 3]."""
    angles = torch.from_numpy(head_rad)
    axes = torch.eye(3).to(angles)[[1, 0, 2]]  # y, x, z
    yaw, pitch, roll = (
        rotation_matrix(angle[:, None] * axis) for angle, axis in zip(angles.T, axes, strict=True)
    )
    facing = torch.diag(angles.new_tensor([-1.0, 1.0, -1.0]))
    return rotation_vector(facing @ yaw @ pitch @ roll).float().numpy()


def _frame_rate(codes: list[str]) -> float | None:
    """Frames per second: how many frames the second with most of them has; whole seconds are needed."""
    seconds = [code.rsplit(":", 1)[0] for code in codes]
    counts = [seconds.count(second) for second in dict.fromkeys(seconds)]
    inner = counts[1:-1]  # the first and the last second may be incomplete
    return float(np.median(inner)) if inner else None
