"""`head.json`: what a head model says of itself."""

from __future__ import annotations

import json
from pathlib import Path

from nha.core.errors import UserError
from nha.head.file_guide import DESCRIPTION_FILE


def read_description(folder: Path) -> dict | None:
    """The content of a head folder's head.json, None where there is none. Raises UserError where it is broken."""
    path = folder / DESCRIPTION_FILE
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"'{path}' cannot be read ({error}); take the one that came with the head model"
        ) from None
    if not isinstance(content, dict):
        raise UserError(f"'{path}' holds no JSON object; take the one that came with the head model")
    return content
