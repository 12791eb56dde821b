"""`nha head make` and `nha head inspect`: generate the procedural head, describe a head model."""

from __future__ import annotations

from pathlib import Path

import torch

from nha.cli.settings import HeadGenerationSettings, HeadInspectionSettings
from nha.core.errors import UserError
from nha.core.json_file import read_json_object
from nha.core.output_folder import own_files, own_folder, require_own_file
from nha.core.paths import new_asset_folder
from nha.core.system import atomic_directory, replace_file
from nha.data.dataset_folder import write_rgb
from nha.head.describe import describe_head
from nha.head.file_guide import DESCRIPTION_FILE, MODEL_FILES, REQUIRED_FILES, TEXTURE_FILE
from nha.head.flame_files import model_file, read_head_folder
from nha.head.load import resolve_head_folder
from nha.head.model import HeadModel
from nha.head.procedural import write_head_folder
from nha.visualization.head_preview import write_head_preview
from nha.visualization.head_sheet import draw_head_overview


def generate_head(settings: HeadGenerationSettings) -> None:
    """Write the procedural head, and a preview if requested."""
    out = settings.out or new_asset_folder() / "procedural"
    if out.exists() and not out.is_dir():
        raise UserError(f"'{out}' is a file; choose a folder for --out")
    if settings.preview is not None:
        require_own_file(settings.preview)
    try:
        with own_folder(out, of_earlier_version=_files_of_earlier_versions):
            # written beside first, so that the head of an earlier run stays whole until this one is
            with atomic_directory(out / "head", _move_files_up) as temporary:
                write_head_folder(temporary / "files")
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"cannot write '{out}' ({reason}); choose another folder for --out") from error
    print(f"procedural head: {out}")
    if settings.preview is not None:
        with own_files(settings.preview):
            write_head_preview(out, settings.preview)
        print(f"preview: {settings.preview}")


def _move_files_up(temporary: Path, path: Path) -> None:
    for file in sorted((temporary / "files").iterdir()):
        replace_file(file, path.parent / file.name)


def _files_of_earlier_versions(folder: Path) -> list[str]:
    """The files of a generated head whose version of this program kept no manifest."""
    if "generator_version" not in read_json_object(folder / DESCRIPTION_FILE):
        return []
    names = (*MODEL_FILES[:1], *REQUIRED_FILES, TEXTURE_FILE, DESCRIPTION_FILE)
    return [name for name in names if (folder / name).is_file()]


def inspect_head(settings: HeadInspectionSettings) -> None:
    """Print the description of a head model and write an image of it."""
    path = resolve_head_folder(settings.path)
    assets = read_head_folder(path)
    image = require_own_file(settings.out or Path(f"head_{assets.name}.png"))
    print(describe_head(assets, model_file(path)))

    # the mesh of the files: neither subdivided nor cut off at the neck
    head = HeadModel(assets, subdivisions=0, drop_lower_neck=False, blur_sigma=None)
    with torch.no_grad():
        sheet = draw_head_overview(head)
    try:
        with own_files(image):
            write_rgb(image, sheet)
    except OSError as error:
        raise UserError(
            f"cannot write '{image}' ({error.strerror or error}); choose another --out"
        ) from error
    print(f"\nimage: {image}")
