"""Detection of FLAME's release from the content of a model file, or from its name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nha.core.safe_pickle import load_pickle
from nha.core.untrusted_file import open_untrusted
from nha.head.derived.named_vertices import is_flame_mesh
from nha.head.description import read_description
from nha.head.file_guide import DESCRIPTION_FILE, OPEN_LICENCE, RESEARCH_LICENCE

# According to the public descriptions of the releases, only FLAME 2023 Open has this entry.
OPEN_KEY = "supr_expression_metadata"


@dataclass(frozen=True)
class Release:
    """The release of a head model.

    Attributes:
        name: the name of the release.
        evidence: how it was detected.
        licence: the licence of the model file.
    """

    name: str
    evidence: str
    licence: str


def detect_release(path: Path) -> Release:
    """Detect the release of a head model from its .pkl file and `head.json` beside it; see `release_of`."""
    if read_description(path.parent) is not None:
        return release_of({}, path)
    if path.suffix == ".npz":
        with open_untrusted(path) as file, np.load(file, allow_pickle=False) as archive:
            return release_of(
                {name: archive[name] for name in archive.files if name == "f" or name == OPEN_KEY}, path
            )
    return release_of(load_pickle(path), path)


def release_of(model: Mapping[str, Any], path: Path) -> Release:
    """The release of a head model.

    Entries, triangles and the file name are examined; the values of the model are not compared with a reference.

    Args:
        model: the content of the model file; not used where `head.json` lies beside it.
        path: the model file.

    Raises:
        UserError: a file cannot be read.
    """
    own = read_description(path.parent)
    if own is not None:
        name = str(own.get("name", "unnamed"))
        version = own.get("generator_version")
        return Release(
            name if version is None else f"{name} (generator version {version})",
            f"from {DESCRIPTION_FILE} in the same folder",
            str(own.get("licence", "unknown")),
        )
    if OPEN_KEY in model:
        return Release("FLAME 2023 Open", f"only this release has the entry {OPEN_KEY}", OPEN_LICENCE)
    either = f"that of the release: {RESEARCH_LICENCE} (2020, 2023) or {OPEN_LICENCE} (2023 Open)"
    if "f" not in model or not is_flame_mesh(np.asarray(model["f"])):
        return Release("unknown, FLAME-shaped", "the triangles are not FLAME's", "unknown")
    by_name = "from the file name only; the triangles are FLAME's"
    if path.name.lower().startswith("flame2023_open"):
        return Release(
            "FLAME 2023 Open (not certain)", f"{by_name}, but the entry {OPEN_KEY} is absent", either
        )
    if path.name.lower().startswith("flame2023"):
        return Release("FLAME 2023", by_name, RESEARCH_LICENCE)
    if b"chumpy" in path.read_bytes():
        evidence = "the triangles are FLAME's, and the arrays are chumpy's as before 2023"
        return Release("FLAME 2020 or older", evidence, RESEARCH_LICENCE)
    return Release(
        "FLAME, release unknown", "the triangles are FLAME's; nothing else identifies the release", either
    )
