"""JSON files: written atomically and without NaN; read only from regular files of limited size and depth."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from nha.core.errors import UserError
from nha.core.plain_file import read_plain_text
from nha.core.system import atomic_path

_ADVICE = "one of its inputs is out of range"


def json_text(content: Any, what: str, advice: str = _ADVICE, *, indent: int | None = None) -> str:
    """The text of a JSON file.

    Args:
        content: objects, lists, texts and numbers.
        what: begins the message of the error, such as the file's name.
        advice: what the user can do.
        indent: spaces for each level; None writes one line.

    Raises:
        UserError: the content holds NaN or infinity, which JSON does not have.
    """
    try:
        return json.dumps(content, allow_nan=False, indent=indent)
    except ValueError as error:
        if "JSON compliant" not in str(error):
            raise
        raise UserError(f"{what} holds values that are not finite; {advice}") from None


def write_json(
    path: str | Path, content: Any, advice: str = _ADVICE, *, indent: int | None = 1, durable: bool = False
) -> None:
    """Write a JSON file atomically. Arguments and errors as `json_text`, `durable` as `system.atomic_path`."""
    text = json_text(content, Path(path).name, advice, indent=indent)
    with atomic_path(path, durable=durable) as temporary:
        temporary.write_text(f"{text}\n", encoding="utf-8")


def undefined_as_null(content: Any) -> Any:
    """A copy of JSON content with None (null) in the place of NaN and infinity, for values that may be undefined."""
    if isinstance(content, Mapping):
        return {key: undefined_as_null(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [undefined_as_null(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def read_json(path: str | Path, encoding: str = "utf-8", *, nan: bool = False) -> Any:
    """The content of a JSON file.

    Args:
        path: the file.
        encoding: of its text.
        nan: also read NaN and infinity, which programs that do not follow the standard write.

    Raises:
        OSError: as `plain_file.open_plain`.
        ValueError: the file is no text in this encoding, is no JSON, holds NaN, or is nested too deeply.
    """
    try:
        text = read_plain_text(path, encoding)
        return json.loads(text, parse_constant=float if nan else _refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_json_object(path: str | Path) -> dict[str, Any]:
    """The JSON object in a file; {} for a file that is missing, damaged or holds another value."""
    try:
        content = read_json(path)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"JSON has no {constant}")
