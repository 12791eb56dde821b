"""Rewrite an avatar checkpoint for the published code, or one of the published code for this project."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from nha.avatar.checkpoint import published_head_tables, read_checkpoint, write_checkpoint
from nha.avatar.open import DERIVED_KEY
from nha.core.command_line import OptionParser
from nha.core.errors import UserError
from nha.core.system import run_script


def main() -> None:
    parser = OptionParser(description=__doc__)
    parser.add_argument("input", type=Path, metavar="IN", help="avatar checkpoint, of either kind")
    parser.add_argument("output", type=Path, metavar="OUT", help="the file to write")
    parser.add_argument("--to", choices=("published", "nha"), required=True, help="whose layout to write")
    parser.add_argument(
        "--head",
        type=Path,
        metavar="FOLDER",
        help="FLAME's files; needed for --to published if IN does not hold the head model's tables",
    )
    arguments = parser.parse_args()

    checkpoint = read_checkpoint(arguments.input)
    derived = checkpoint.hyper_parameters.get(DERIVED_KEY)
    if arguments.to == "published" and derived:
        raise UserError(
            f"{arguments.input.name} was trained without FLAME's own table files (derived: {', '.join(derived)}):"
            " the published code would draw it wrongly; train it on a folder with those files"
        )
    if arguments.to == "published" and not any(name.startswith("_flame.") for name in checkpoint.state):
        if arguments.head is None:
            raise UserError(
                f"{arguments.input.name} has no tables of the head model, which the published code wants;"
                " pass --head with the folder of FLAME's files"
            )
        tables = published_head_tables(arguments.head)
        checkpoint = dataclasses.replace(checkpoint, state=checkpoint.state | tables)
    write_checkpoint(arguments.output, checkpoint, layout=arguments.to)
    print(f"wrote {arguments.output} ({len(checkpoint.state)} tensors)")


if __name__ == "__main__":
    run_script(main)
