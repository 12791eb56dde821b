"""Rewrite an avatar checkpoint for the published code, or one of the published code for this project."""

from __future__ import annotations

from pathlib import Path

from nha.avatar.convert import convert_checkpoint
from nha.core.command_line import OptionParser
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

    checkpoint = convert_checkpoint(arguments.input, arguments.output, arguments.to, arguments.head)
    print(f"wrote {arguments.output} ({len(checkpoint.state)} tensors)")


if __name__ == "__main__":
    run_script(main)
