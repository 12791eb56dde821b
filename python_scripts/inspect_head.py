"""Say what a head model's files hold, under which licences they are and which are missing, and draw the head."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from nha.core.command_line import OptionParser
from nha.core.errors import UserError
from nha.core.system import run_script
from nha.data.dataset_folder import write_rgb
from nha.head.describe import describe_head
from nha.head.flame_files import model_file, read_head_folder
from nha.head.load import resolve_head_folder
from nha.head.model import HeadModel
from nha.visualization.head_sheet import draw_head_sheet


def parse_arguments() -> argparse.Namespace:
    """Read the command line. Raises UserError for a picture that is no .png."""
    parser = OptionParser(description=__doc__)
    parser.add_argument(
        "path",
        metavar="PATH",
        help="a folder of head model files, a model's .pkl, or one of the words flame, procedural, auto",
    )
    parser.add_argument(
        "--out", type=Path, metavar="PNG", help="the picture (default: head_NAME.png in the current folder)"
    )
    arguments = parser.parse_args()
    if arguments.out is not None and arguments.out.suffix.lower() != ".png":
        raise UserError(f"the picture is written as PNG; use a name that ends in .png, not '{arguments.out}'")
    return arguments


def main() -> None:
    """Print the description and write the picture."""
    arguments = parse_arguments()
    path = resolve_head_folder(arguments.path)
    assets = read_head_folder(path)
    print(describe_head(assets, model_file(path)))

    # everything that the files hold: neither subdivided nor cut off at the neck
    head = HeadModel(assets, subdivisions=0, drop_lower_neck=False, blur_sigma=None)
    with torch.no_grad():
        sheet = draw_head_sheet(head)
    picture = arguments.out or Path(f"head_{assets.name}.png")
    try:
        write_rgb(picture, sheet)
    except OSError as error:
        raise UserError(
            f"cannot write '{picture}' ({error.strerror or error}); choose another --out"
        ) from error
    print(f"\npicture: {picture}")


if __name__ == "__main__":
    run_script(main)
