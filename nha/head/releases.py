"""Which release of FLAME a model file is, and how that was told: by what the file holds, else by its name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nha.core.safe_pickle import load_pickle
from nha.head.derived.named_vertices import is_flame_mesh
from nha.head.description import read_description
from nha.head.file_guide import DESCRIPTION_FILE, OPEN_LICENCE, RESEARCH_LICENCE

# Public descriptions of the releases agree that only FLAME 2023 Open has this entry.
OPEN_KEY = "supr_expression_metadata"


@dataclass(frozen=True)
class Release:
    """name: of the release; evidence: how it was told; licence: of the model file."""

    name: str
    evidence: str
    licence: str


def tell_release(path: Path) -> Release:
    """Tell the release of a head model's .pkl. The numbers in it are compared with nothing.

    Raises UserError where the file cannot be read.
    """
    own = read_description(path.parent)
    if own is not None:
        name = str(own.get("name", "unnamed"))
        version = own.get("generator_version")
        return Release(
            name if version is None else f"{name} (generator version {version})",
            f"{DESCRIPTION_FILE} beside it says so",
            str(own.get("licence", "unknown")),
        )
    model = load_pickle(path)
    if OPEN_KEY in model:
        return Release("FLAME 2023 Open", f"it has the entry {OPEN_KEY}, which only that has", OPEN_LICENCE)
    either = f"that of the release: {RESEARCH_LICENCE} (2020, 2023) or {OPEN_LICENCE} (2023 Open)"
    if "f" not in model or not is_flame_mesh(np.asarray(model["f"])):
        return Release("unknown, FLAME-shaped", "its triangles are not FLAME's", "unknown")
    by_name = "by its file name alone; its triangles are FLAME's"
    if path.name.lower().startswith("flame2023_open"):
        return Release(
            "FLAME 2023 Open (not certain)", f"{by_name}, but the entry {OPEN_KEY} is absent", either
        )
    if path.name.lower().startswith("flame2023"):
        return Release("FLAME 2023", by_name, RESEARCH_LICENCE)
    if b"chumpy" in path.read_bytes():
        evidence = "its triangles are FLAME's and its arrays chumpy's, as before 2023"
        return Release("FLAME 2020 or older", evidence, RESEARCH_LICENCE)
    return Release("FLAME, release unknown", "its triangles are FLAME's; nothing else tells", either)
