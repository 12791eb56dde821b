"""Check a dataset folder, ours or a published one: files, sizes, labels, landmarks, masks, and whether they agree.

Exit code 1 where something is wrong. Nothing in the folder is changed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from nha.core.command_line import OptionParser
from nha.core.errors import UserError
from nha.core.system import run_script
from nha.data.dataset_check import DatasetCheck, check_dataset
from nha.data.dataset_folder import DatasetFolder
from nha.data.splits import spread_split, write_split
from nha.evaluation.dataset_report import advice, findings_table, write_dataset_report

EXIT_FAULTS = 1


def main() -> None:
    """Print what was found, write what was asked for."""
    arguments = parse_arguments()
    check = check_dataset(arguments.data, arguments.tracking, arguments.split)
    print(summary(check))
    if arguments.make_split is not None:
        make_split(arguments.make_split, check, arguments.val_share, arguments.gap)
    if arguments.report is not None:
        print(f"to look at: {write_dataset_report(arguments.report, DatasetFolder(arguments.data), check)}")
    if check.findings:
        sys.exit(EXIT_FAULTS)


def parse_arguments() -> argparse.Namespace:
    """Read the command line. Raises UserError for numbers out of their range."""
    parser = OptionParser(description=__doc__)
    parser.add_argument("data", metavar="DATA", type=Path, help="the dataset folder")
    parser.add_argument(
        "--tracking", metavar="NPZ", type=Path, help="also check this tracking file against it"
    )
    parser.add_argument(
        "--split", metavar="JSON", type=Path, help="check this split (default: the folder's own)"
    )
    parser.add_argument(
        "--make_split",
        metavar="FILE",
        type=Path,
        help="write a split of the frames that nothing is wrong with",
    )
    parser.add_argument(
        "--val_share",
        metavar="SHARE",
        type=float,
        default=0.2,
        help="share of held-out frames in it (default 0.2)",
    )
    parser.add_argument(
        "--gap",
        metavar="FRAMES",
        type=int,
        default=10,
        help="frames left out on either side of held-out ones (10)",
    )
    parser.add_argument("--report", metavar="HTML", type=Path, help="write a page with the worst frames")
    arguments = parser.parse_args()
    if not 0 < arguments.val_share < 1:
        raise UserError(f"--val_share {arguments.val_share:g} is a share of the frames: use 0 to 1")
    if arguments.gap < 0:
        raise UserError(f"--gap {arguments.gap}: use 0 or more frames")
    return arguments


def summary(check: DatasetCheck) -> str:
    """Size of the dataset, the table of faults, and what to do about them."""
    size = f"of {check.size[1]} x {check.size[0]} pixels" if check.size else "without a readable picture"
    first = f"{len(check.frame_ids)} frames {size}, {check.frame_ids[0]} to {check.frame_ids[-1]}"
    if not check.findings:
        return f"{first}: nothing is wrong"
    last = f"{len(check.findings)} findings in {len(check.worst_frames)} frames"
    return "\n".join([first, "", findings_table(check).as_text(), "", *advice(check), "", last])


def make_split(path: Path, check: DatasetCheck, val_share: float, gap: int) -> None:
    """Write a split of the good frames. Raises UserError where there is none."""
    if not check.good_frames:
        raise UserError("no split can be made: something is wrong with every frame")
    split = spread_split(check.good_frames, val_share, gap)
    try:
        write_split(path, split)
    except OSError as error:
        raise UserError(f"cannot write '{path}' ({error.strerror or error}); choose another file") from error
    left_out = len(check.frame_ids) - len(split.frame_ids())
    print(f"split: {path} ({len(split.train)} to train on, {len(split.val)} held out, {left_out} left out)")


if __name__ == "__main__":
    run_script(main)
