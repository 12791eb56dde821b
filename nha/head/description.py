"""`head.json`: name, licence and mouth features of a head model, stored beside its other files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nha.core.errors import UserError
from nha.core.json_file import read_json
from nha.head.assets import MouthFeatureTable
from nha.head.file_guide import DESCRIPTION_FILE

FLAME_VERTICES = 5023
_LONGEST_TEXT = 1000
_FLAME_DESCRIPTION = Path(__file__).parent / "descriptions" / "flame.json"


def read_description(folder: Path) -> dict | None:
    """The content of a head folder's `head.json`, None if there is none.

    Raises:
        UserError: the file is damaged.
    """
    path = folder / DESCRIPTION_FILE
    if not path.is_file():
        return None
    try:
        content = read_json(path)
    except (OSError, ValueError) as error:
        raise UserError(
            f"'{path}' cannot be read ({error}); use the file that was published with the head model"
        ) from None
    if not isinstance(content, dict):
        raise UserError(f"'{path}' is not a JSON object; use the file that was published with the head model")
    for key in ("name", "licence"):
        if not _is_short_text(content.get(key, "")):
            raise UserError(f"'{path}': {key} must be a text of at most {_LONGEST_TEXT} characters")
    for key in ("shape_names", "expression_names"):
        names = content.get(key, [])
        if not isinstance(names, list) or not all(map(_is_short_text, names)):
            raise UserError(f"'{path}': {key} must be a list of texts of at most {_LONGEST_TEXT} characters")
    return content


def _is_short_text(value: object) -> bool:
    if not isinstance(value, str) or len(value) > _LONGEST_TEXT:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:  # JSON can hold half a character, which no file can be written with
        return False
    return True


def head_description(folder: Path, n_vertices: int) -> dict:
    """The description in the folder, or this package's description of FLAME for a mesh of FLAME's size."""
    own = read_description(folder)
    if own is None and n_vertices == FLAME_VERTICES:
        return read_json(_FLAME_DESCRIPTION)
    return own or {}


def mouth_feature_table(description: dict) -> MouthFeatureTable | None:
    """The mouth features in a description, None if it has none."""
    table = description.get("mouth_features")
    if table is None:
        return None
    return MouthFeatureTable(
        np.array(table["pairs"], np.int64),
        np.array(table["minimum"], np.float32),
        np.array(table["maximum"], np.float32),
    )
