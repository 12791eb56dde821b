"""The file of a head model in a folder: the names under which FLAME's models are published and passed on."""

from __future__ import annotations

from pathlib import Path

from nha.core.errors import UserError
from nha.head.file_guide import (
    MODEL_FILES,
    OFFICIAL_PARTS_FILE,
    OTHER_MODEL_FILES,
    PARTS_FILE,
    where_from,
)


def model_file(path: Path) -> Path | None:
    """The file of the model itself: `path` if it is a file, else the first known name in that folder, or None.

    A .npz file of a known name is taken where there is no .pkl. Of the gendered models, one is taken if it is alone.
    """
    if path.is_file():
        return path
    found = _model_files(path)
    gendered = [file for file in found if _is_gendered(file)]
    neutral = [file for file in found if file not in gendered]
    if neutral:
        return neutral[0]
    return gendered[0] if len(gendered) == 1 else None


def _model_files(folder: Path) -> list[Path]:
    names = (*MODEL_FILES, *OTHER_MODEL_FILES)
    names += tuple(name.replace(".pkl", ".npz") for name in names)
    return [folder / name for name in names if (folder / name).is_file()]


def _is_gendered(path: Path) -> bool:
    return "male" in path.name.lower()  # female, too


def no_model(folder: Path) -> UserError:
    """The error for a folder without a model file that could be chosen."""
    if several := _model_files(folder):
        names = " and ".join(file.name for file in several)
        return UserError(f"head model folder '{folder}' has {names}: name one of these files with --head")
    names = f"{MODEL_FILES[0]} (or {', '.join((*MODEL_FILES[1:], *OTHER_MODEL_FILES[:2]))})"
    other = unused_models(folder)
    hint = f"; {other}" if other else ""
    return UserError(
        f"head model folder '{folder}' has no {names}: put it there ({where_from(MODEL_FILES[:1])}), "
        f"or use the procedural head{hint}"
    )


def unused_models(folder: Path) -> str | None:
    """What a folder without a chosen model file has in its place, and what to do with it; None if there is nothing."""
    if several := _model_files(folder):
        return f"it has {' and '.join(file.name for file in several)}: name one of them with --head"
    for inner in sorted(path for path in folder.glob("*") if path.is_dir()):
        if _model_files(inner):
            return f"'{inner}' has a model: name that folder with --head, or move its files one folder up"
    tables = {PARTS_FILE, OFFICIAL_PARTS_FILE}
    if others := sorted(file.name for file in folder.glob("*.pkl") if file.name not in tables):
        return f"it has {', '.join(others[:4])}: name a model file itself with --head"
    archives = sorted(file.name for file in folder.glob("*.zip") if "flame" in file.name.lower())
    return f"unpack {archives[0]} there" if archives else None
