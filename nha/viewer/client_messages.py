"""Messages from browsers: only the kinds that the viewer uses, with numbers in their ranges."""

from __future__ import annotations

import math
from typing import Any

FOV_RANGE_RAD = (math.radians(1), math.radians(170))
SIZE_RANGE_PX = (16, 8192)  # of a browser's window
FURTHEST_METRES = 100.0
LONGEST_TEXT = 200

# Name -> length, and largest value of each number.
_VECTORS = {
    "position": (3, FURTHEST_METRES),
    "look_at": (3, FURTHEST_METRES),
    "up_direction": (3, 1.0),
    "wxyz": (4, 1.0),
}


def checked_message(raw: Any) -> bytes | None:
    """A message of a browser with its numbers clamped, None for one that is left out.

    Left out are messages that are no MessagePack map of a known kind, cameras whose numbers are not finite, and changes
    of anything but a control's value.

    Args:
        raw: what was received.
    """
    import msgspec  # a dependency of viser

    if not isinstance(raw, bytes):
        return None
    try:
        message = msgspec.msgpack.decode(raw)
        if not isinstance(message, dict) or message.get("type") not in _CLEANERS:
            return None
        clean = _CLEANERS[message["type"]](message)
    except (
        msgspec.DecodeError,
        UnicodeDecodeError,
        ValueError,
        TypeError,
        KeyError,
        OverflowError,
        RecursionError,
    ):
        return None
    return None if clean is None else msgspec.msgpack.encode(clean)


def _camera(message: dict[str, Any]) -> dict[str, Any]:
    clean: dict[str, Any] = {"type": message["type"]}
    for name, (n, limit) in _VECTORS.items():
        values = [_number(value, -limit, limit) for value in message[name]]
        if len(values) != n:
            raise ValueError(name)
        clean[name] = values
    if sum(value * value for value in clean["wxyz"]) < 1e-6:
        raise ValueError("a rotation of length 0")
    clean["fov"] = _number(message["fov"], *FOV_RANGE_RAD)
    clean["near"] = _number(message["near"], 1e-6, 1e6)
    clean["far"] = _number(message["far"], 1e-6, 1e9)
    for name in ("image_height", "image_width"):
        clean[name] = int(_number(message[name], *SIZE_RANGE_PX))
    return clean


def _control(message: dict[str, Any]) -> dict[str, Any] | None:
    """The change of a control's value; its range is the panel's to apply."""
    identifier, updates = message["uuid"], message["updates"]
    if not isinstance(identifier, str) or not isinstance(updates, dict) or updates.keys() != {"value"}:
        return None
    value = updates["value"]
    if isinstance(value, str):
        if len(value) > LONGEST_TEXT:
            return None
    elif not isinstance(value, bool):
        value = _number(value, -1e9, 1e9)
    return {"type": message["type"], "uuid": identifier[:LONGEST_TEXT], "updates": {"value": value}}


def _command(message: dict[str, Any]) -> dict[str, Any] | None:
    """A keyboard shortcut, or an entry of the command palette."""
    identifier = message["uuid"]
    if not isinstance(identifier, str):
        return None
    return {"type": message["type"], "uuid": identifier[:LONGEST_TEXT]}


_CLEANERS = {
    "ViewerCameraMessage": _camera,
    "GuiUpdateMessage": _control,
    "CommandTriggerMessage": _command,
}


def _number(value: Any, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError("not a finite number")
    return min(max(value, low), high)
