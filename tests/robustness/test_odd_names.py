"""Folders and files whose names are no UTF-8, hold control codes, or are very long."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from nha.cli.main import main
from nha.core.html_report import Section, write_report
from nha.core.output_folder import own_folder
from nha.core.system import atomic_path
from nha.data.dataset_folder import write_rgb
from nha.data.frame_store import FrameStore
from nha.data.video_io import VideoWriter, iterate_frames
from nha.preprocess.dataset_info import describe_video

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes")

NAMES = {
    "no UTF-8": b"f\xff\xfe",
    "line break": b"a\nerror: forged",
    "control code": b"\x1b[2J",
    "quotes": b'it\'s a "name" $(x) `y` %s {} \\',
    "right to left": "\u202egnp.x \u05d0".encode(),
    "dash": b"--out=x",
    "long": b"x" * 200,
}


@pytest.fixture(params=NAMES)
def odd(request, tmp_path) -> Path:
    """A folder with an odd name."""
    folder = tmp_path / os.fsdecode(NAMES[request.param])
    folder.mkdir()
    return folder


def test_results_are_written_to_folders_with_odd_names(odd):
    out = odd / odd.name
    with own_folder(out):
        with VideoWriter(out / "film.mp4") as video:
            video.write(np.zeros((16, 16, 3), np.uint8))
        report = write_report(
            out / "report.html",
            out.name,
            [Section(out.name, out.name, videos=[(out.name, out / "film.mp4")])],
        )
    assert len(list(iterate_frames(out / "film.mp4"))) == 1
    assert report.stat().st_size > 100
    with own_folder(out) as manifest:
        assert manifest.owns(report)
        with atomic_path(report) as temporary:
            temporary.write_text("again")
    assert sorted(path.name for path in out.iterdir()) == [".manifest.jsonl", "film.mp4", "report.html"]


def test_images_and_datasets_with_odd_names_are_read(odd, tiny_dataset):
    write_rgb(odd / f"{odd.name}.png", np.zeros((8, 8, 3), np.uint8))
    assert len(describe_video(odd, 25.0)["sha256"]) == 64
    tiny = tiny_dataset()
    moved = odd / "dataset"
    os.replace(tiny.data_path, moved)
    from nha.data.dataset_folder import DatasetFolder

    assert len(FrameStore(DatasetFolder(moved), [0, 1], "auto")) == 2


def test_programs_take_odd_names_and_print_them_safely(odd, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["check", "dataset", f"--dataset={os.fspath(odd)}"])
    assert ended.value.code == 2
    errors = capsys.readouterr().err
    assert len(errors.splitlines()) == 1
    assert errors.rstrip("\n").isprintable()


def test_a_program_takes_a_name_that_is_no_utf_8_from_its_command_line(tmp_path, run_module):
    folder = tmp_path / os.fsdecode(NAMES["no UTF-8"])
    folder.mkdir()
    missing = run_module("nha", "check", "dataset", f"--dataset={os.fspath(folder)}", new_process=True)
    assert missing.returncode == 2
    assert len(missing.stderr.splitlines()) == 1
    assert missing.stderr.rstrip("\n").isprintable()
