"""`nha head make` and `nha head inspect`: generate the procedural head, describe a head model."""

from __future__ import annotations

from pathlib import Path

import torch

from nha.cli.settings import HeadGenerationSettings, HeadInspectionSettings
from nha.core.errors import UserError
from nha.core.paths import new_asset_folder
from nha.data.dataset_folder import write_rgb
from nha.head.describe import describe_head
from nha.head.flame_files import model_file, read_head_folder
from nha.head.load import resolve_head_folder
from nha.head.model import HeadModel
from nha.head.procedural import write_head_folder
from nha.visualization.head_preview import write_head_preview
from nha.visualization.head_sheet import draw_head_overview


def generate_head(settings: HeadGenerationSettings) -> None:
    """Write the procedural head, and a preview if requested."""
    out = settings.out or new_asset_folder() / "procedural"
    _require_own_folder(out)
    try:
        folder = write_head_folder(out)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"cannot write '{out}' ({reason}); choose another folder for --out") from error
    print(f"procedural head: {folder}")
    if settings.preview is not None:
        write_head_preview(folder, settings.preview)
        print(f"preview: {settings.preview}")


def _require_own_folder(folder: Path) -> None:
    """Raise UserError for an output folder with other contents than a procedural head."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"'{folder}' is a file; choose a folder for --out")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "head.json").is_file():
        raise UserError(f"'{folder}' is not empty and holds no head.json; choose a new folder for --out")


def inspect_head(settings: HeadInspectionSettings) -> None:
    """Print the description of a head model and write an image of it."""
    path = resolve_head_folder(settings.path)
    assets = read_head_folder(path)
    print(describe_head(assets, model_file(path)))

    # the mesh of the files: neither subdivided nor cut off at the neck
    head = HeadModel(assets, subdivisions=0, drop_lower_neck=False, blur_sigma=None)
    with torch.no_grad():
        sheet = draw_head_overview(head)
    image = settings.out or Path(f"head_{assets.name}.png")
    try:
        write_rgb(image, sheet)
    except OSError as error:
        raise UserError(
            f"cannot write '{image}' ({error.strerror or error}); choose another --out"
        ) from error
    print(f"\nimage: {image}")
