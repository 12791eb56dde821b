"""Generate the procedural head, a licence-free head model in the files that FLAME is published in."""

from __future__ import annotations

import argparse
from pathlib import Path

from nha.core.errors import UserError
from nha.core.system import run_script
from nha.head.procedural import write_head_folder


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("assets/procedural"),
        help="folder to write; an existing head there is replaced",
    )
    return parser.parse_args()


def refuse_foreign_folder(folder: Path) -> None:
    """Raise UserError if the output folder holds something that is not a head model of ours."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "head.json").is_file():
        raise UserError(f"'{folder}' is not empty and holds no head.json; choose a new folder for --out")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"'{folder}' is a file; choose a folder for --out")


def main() -> None:
    """Write the head folder and, if asked for, the preview."""
    arguments = parse_arguments()
    refuse_foreign_folder(arguments.out)
    try:
        folder = write_head_folder(arguments.out)
    except OSError as error:
        raise UserError(
            f"cannot write '{arguments.out}' ({error.strerror}); choose another folder for --out"
        ) from error
    print(f"procedural head: {folder}")


if __name__ == "__main__":
    run_script(main)
