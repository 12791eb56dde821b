"""`nha check weights`: lists all optional files, and whether they load."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from nha.cli.settings import WeightsCheckSettings
from nha.core.errors import UserError
from nha.core.optional_files import OptionalFiles, optional_files
from nha.core.paths import find_asset
from nha.core.text import printable
from nha.evaluation.lpips import load_lpips
from nha.head.file_guide import HEAD_FILES, MODEL_FILES, REQUIRED_FILES, TEXTURE_FILE, where_from
from nha.head.flame_files import model_file, read_head_folder
from nha.nets.iresnet import load_iresnet18
from nha.preprocess.backends.face_alignment_landmarks import load_face_alignment
from nha.preprocess.backends.mediapipe_runtime import load_mediapipe
from nha.preprocess.backends.published_matting import rvm_matting
from nha.preprocess.networks.published import load_published
from nha.tracking.appearance import read_albedo_space

CPU = torch.device("cpu")


def run_weights_check(settings: WeightsCheckSettings) -> None:
    """Print the list. Raises UserError if a required entry is missing or does not load."""
    entries = all_files(settings.weights)
    if unknown := set(settings.require) - {entry.name for entry in entries}:
        names = ", ".join(entry.name for entry in entries)
        raise UserError(f"--require {', '.join(sorted(unknown))} is not in the list; the entries are {names}")
    unusable = []
    for entry in entries:
        usable, state = state_of(entry)
        print(printable(f"{entry.name:<15} {state}"))
        for label, text in describe_entry(entry):
            print(printable(f"    {label:<8} {text}"))
        if entry.name in settings.require and not usable:
            unusable.append(entry.name)
    if unusable:
        raise UserError(
            f"required, but missing or not loading: {', '.join(unusable)}; the list above says what to do"
        )


def all_files(assets: Path | None) -> list[OptionalFiles]:
    """The files of a head model, then weights."""
    model, texture = (
        next(file for file in HEAD_FILES if name in file.names) for name in (MODEL_FILES[0], TEXTURE_FILE)
    )
    parts_licence = next(file.licence for file in HEAD_FILES if REQUIRED_FILES[0] in file.names)
    flame = find_asset("flame") if assets is None else assets / "flame"
    return [
        OptionalFiles(
            "flame",
            flame,
            model.names,
            "the published head model, in place of the procedural head",
            model.source,
            model.licence,
            one_suffices=True,
        ),
        OptionalFiles(
            "flame-tables",
            flame,
            REQUIRED_FILES,
            "FLAME's mouth, parts, landmarks and UV map; derived if they are missing",
            where_from(REQUIRED_FILES),
            parts_licence,
        ),
        OptionalFiles("flame-texture", flame, texture.names, texture.holds, texture.source, texture.licence),
        *optional_files(assets),
    ]


def load_head_tables(found: list[Path]) -> None:
    """Read table files as part of their head model."""
    folder = found[0].parent
    if model_file(folder) is None:
        raise UserError("they can only be checked together with a model (entry flame)")
    read_head_folder(folder)


def each(load: Callable[[Path], object]) -> Callable[[list[Path]], None]:
    """Open files one by one."""

    def load_all(found: list[Path]) -> None:
        for path in found:
            load(path)

    return load_all


# Name of an entry -> function that opens its existing files and raises UserError where that fails.
LOADERS: dict[str, Callable[[list[Path]], object]] = {
    "flame": lambda found: read_head_folder(found[0].parent),
    "flame-tables": load_head_tables,
    "flame-texture": each(lambda path: read_albedo_space(path, n_components=1)),
    "arcface": each(load_iresnet18),
    "rvm": each(lambda path: rvm_matting(path, CPU)),
    "face-parsing": each(lambda path: load_published("face-parsing", path)),
    "face-normals": each(lambda path: load_published("face-normals", path)),
    "face-alignment": lambda _: load_face_alignment(CPU),
    "alexnet": each(load_lpips),
    "mediapipe": lambda _: load_mediapipe(),
}


def state_of(entry: OptionalFiles) -> tuple[bool, str]:
    """Whether an entry can be used, and its state in words."""
    found = entry.found()
    if not found:
        return False, "not found"
    try:
        LOADERS[entry.name](found)
    except UserError as error:
        return False, f"found, does not load: {error}"
    if missing := entry.missing():
        return False, f"partly found, without {', '.join(path.name for path in missing)}"
    return True, "found, loads"


def describe_entry(entry: OptionalFiles) -> list[tuple[str, str]]:
    """Labels and texts that describe an entry to the user."""
    return [
        ("for", entry.purpose),
        ("place", f"{entry.folder}: {(' or ' if entry.one_suffices else ', ').join(entry.names)}"),
        ("origin", entry.origin),
        ("licence", entry.licence),
    ]
