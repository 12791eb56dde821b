"""`head.json`: name, licence and mouth features of a head model, stored beside its other files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from nha.core.errors import UserError
from nha.head.assets import MouthFeatureTable
from nha.head.file_guide import DESCRIPTION_FILE

FLAME_VERTICES = 5023
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
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"'{path}' cannot be read ({error}); use the file that was published with the head model"
        ) from None
    if not isinstance(content, dict):
        raise UserError(f"'{path}' is not a JSON object; use the file that was published with the head model")
    return content


def head_description(folder: Path, n_vertices: int) -> dict:
    """The description in the folder, or this package's description of FLAME for a mesh of FLAME's size."""
    own = read_description(folder)
    if own is None and n_vertices == FLAME_VERTICES:
        return json.loads(_FLAME_DESCRIPTION.read_text(encoding="utf-8"))
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
