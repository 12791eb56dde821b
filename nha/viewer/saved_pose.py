"""Poses as files and as text: what the sliders show, the base frame, and the camera."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nha.core.errors import UserError
from nha.core.json_file import json_text, read_json
from nha.core.system import atomic_path
from nha.viewer.client_messages import FOV_RANGE_RAD, FURTHEST_METRES
from nha.viewer.viewpoint import Viewpoint

_CAMERA_NUMBERS = 8  # quaternion, position, vertical field of view
_LARGEST_VALUE = 1e4  # of a slider; the panel applies the sliders' ranges
_LARGEST_FILE_BYTES = 1 << 16
_LARGEST_FRAME_ID = 1_000_000_000


@dataclass(frozen=True)
class SavedPose:
    """A pose of the controls.

    Attributes:
        values: of the sliders that are not at 0, by name; degrees for joints.
        frame: id of the tracked frame to which they are added; None for the neutral pose.
        viewpoint: the camera; None for the one of the video.
    """

    values: Mapping[str, float] = field(default_factory=dict)
    frame: int | None = None
    viewpoint: Viewpoint | None = None

    def to_json(self) -> str:
        """The content of a pose file."""
        camera = None if self.viewpoint is None else _camera_numbers(self.viewpoint)
        content = {"frame": self.frame, "values": dict(self.values), "camera": camera}
        return json_text(content, "the pose", indent=1) + "\n"

    def to_text(self) -> str:
        """The pose as words such as `frame=12 jaw_open=20`, which `parse_pose` reads."""
        words = [] if self.frame is None else [f"frame={self.frame}"]
        words += [f"{name}={value:g}" for name, value in self.values.items()]
        if self.viewpoint is not None:
            words.append("camera=" + ",".join(f"{number:.6g}" for number in _camera_numbers(self.viewpoint)))
        return " ".join(words)


def parse_pose(text: str) -> SavedPose:
    """The pose of a text as `SavedPose.to_text` writes it. Raises UserError where it is none."""
    values: dict[str, float] = {}
    frame: Any = None
    camera: Any = None
    for word in text.split():
        name, separator, value = word.partition("=")
        if not separator:
            raise UserError(f"a pose consists of words such as jaw_open=20, not '{word}'")
        if name == "frame":
            frame = int(value) if value.isdecimal() else value
        elif name == "camera":
            camera = [_number_or_text(part) for part in value.split(",")]
        else:
            values[name] = _number_or_text(value)
    return _checked(frame, values, camera, f"the pose '{text}'")


def read_pose(path: Path) -> SavedPose:
    """The pose of a file. Raises UserError where it is missing or none."""
    try:
        if path.stat().st_size > _LARGEST_FILE_BYTES:
            raise ValueError("too large")
        content = read_json(path)
        frame, values, camera = content["frame"], content["values"], content["camera"]
    except OSError as error:
        raise UserError(f"no pose file at '{path}' ({error.strerror})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"'{path}' is no pose file; save one with the viewer's 'save pose'") from error
    return _checked(frame, values, camera, f"the pose file '{path}'")


def write_pose(path: Path, pose: SavedPose) -> None:
    """Write a pose file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as written:
        written.write_text(pose.to_json(), encoding="utf-8")


def open_pose(text: str, sliders: Sequence[str]) -> SavedPose:
    """The pose of the option --pose: a file, or words such as `jaw_open=20`.

    Args:
        text: the option.
        sliders: names of the sliders that exist.

    Raises:
        UserError: it is no pose, or names a slider that does not exist.
    """
    pose = read_pose(Path(text)) if "=" not in text or Path(text).is_file() else parse_pose(text)
    if unknown := [name for name in pose.values if name not in sliders]:
        raise UserError(f"there is no slider '{unknown[0]}'; the sliders are {', '.join(sliders)}")
    return pose


def command_of(pose: SavedPose, *, avatar: Path | None, tracking: Path | None, driving: Path | None) -> str:
    """The command that opens the viewer with a pose, for a shell."""
    words = ["nha", "view"]
    for option, path in (("--avatar", avatar), ("--tracking", tracking), ("--driving", driving)):
        if path is not None:
            words += [option, str(path)]
    if text := pose.to_text():
        words += ["--pose", text]
    return shlex.join(words)


def _checked(frame: Any, values: Any, camera: Any, what: str) -> SavedPose:
    is_frame = frame is None or (isinstance(frame, int) and 0 <= frame <= _LARGEST_FRAME_ID)
    if not is_frame or isinstance(frame, bool):
        raise UserError(f"{what} has the frame '{frame}', which is no frame number")
    if not isinstance(values, dict):
        raise UserError(f"{what} has no values of sliders")
    for name, value in values.items():
        if not re.fullmatch(r"\w+", name) or not _is_number(value, _LARGEST_VALUE):
            raise UserError(f"{what} sets '{name}' to '{value}'; sliders take numbers")
    if camera is None:
        return SavedPose({name: float(value) for name, value in values.items()}, frame)
    if (
        not isinstance(camera, list)
        or len(camera) != _CAMERA_NUMBERS
        or not all(_is_number(number, FURTHEST_METRES) for number in camera)
        or math.hypot(*camera[:4]) < 1e-3
    ):
        raise UserError(f"{what} has a camera that is not {_CAMERA_NUMBERS} numbers")
    length = math.hypot(*camera[:4])
    fov = min(max(float(camera[7]), FOV_RANGE_RAD[0]), FOV_RANGE_RAD[1])
    viewpoint = Viewpoint(
        tuple(number / length for number in camera[:4]), tuple(map(float, camera[4:7])), fov
    )
    return SavedPose({name: float(value) for name, value in values.items()}, frame, viewpoint)


def _is_number(value: Any, limit: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= limit


def _number_or_text(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _camera_numbers(viewpoint: Viewpoint) -> list[float]:
    return [*viewpoint.wxyz, *viewpoint.position, viewpoint.fov_rad]
