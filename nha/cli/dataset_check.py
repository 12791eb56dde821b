"""`nha check dataset`: prints the findings, writes a report and a split."""

from __future__ import annotations

import sys

from nha.cli.settings import DatasetCheckSettings
from nha.core.errors import UserError
from nha.core.output_folder import own_files, require_own_file
from nha.data.dataset_check import DatasetCheck, check_dataset
from nha.data.dataset_folder import DatasetFolder
from nha.data.splits import spread_split, thinned, write_split
from nha.evaluation.dataset_report import advice, findings_table, write_dataset_report

EXIT_FINDINGS = 1


def run_dataset_check(settings: DatasetCheckSettings) -> None:
    """Check a dataset, print the findings and write the requested files; exits with code 1 if there are findings."""
    for path in (settings.make_split, settings.report):
        if path is not None:
            require_own_file(path)
    check = check_dataset(settings.data, settings.tracking, settings.split)
    print(summary(check))
    if settings.make_split is not None:
        make_split(settings, check)
    if settings.report is not None:
        with own_files(settings.report):
            report = write_dataset_report(settings.report, DatasetFolder(settings.data), check)
        print(f"report: {report}")
    if check.findings:
        sys.exit(EXIT_FINDINGS)


def summary(check: DatasetCheck) -> str:
    """Size of the dataset, the table of findings, and advice."""
    size = f"of {check.size[1]} x {check.size[0]} pixels" if check.size else "without a readable image"
    first = f"{len(check.frame_ids)} frames {size}, {check.frame_ids[0]} to {check.frame_ids[-1]}"
    if not check.findings:
        return f"{first}: nothing is wrong"
    last = f"{len(check.findings)} findings in {len(check.worst_frames)} frames"
    return "\n".join([first, "", findings_table(check).as_text(), "", *advice(check), "", last])


def make_split(settings: DatasetCheckSettings, check: DatasetCheck) -> None:
    """Write a split of the frames without findings. Raises UserError if there is none."""
    if not check.good_frames:
        raise UserError("no split can be made: every frame has findings")
    path = settings.make_split
    split = spread_split(check.good_frames, settings.val_share, settings.gap)
    split = thinned(split, settings.every, settings.max_frames)
    try:
        with own_files(path):
            write_split(path, split)
    except OSError as error:
        raise UserError(f"cannot write '{path}' ({error.strerror or error}); choose another file") from error
    left_out = len(check.frame_ids) - len(split.frame_ids())
    print(f"split: {path} ({len(split.train)} to train on, {len(split.val)} held out, {left_out} left out)")
