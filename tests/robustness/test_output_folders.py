"""Output folders that a program must not or cannot use: every program refuses them in one line and changes nothing."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from nha.cli.main import main
from nha.core.output_folder import own_folder
from nha.core.system import exclusive_use
from nha.synthetic.settings import SyntheticSettings
from nha.synthetic.write_dataset import write_subject
from tests.optimization.conftest import subject as subject

pytestmark = pytest.mark.skipif(os.name != "posix", reason="locks and names of POSIX")

COMMANDS = ("make", "preprocess", "track", "train", "synthetic", "demo", "head make", "export-tracking")


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("video")
    write_subject(folder, SyntheticSettings(frames=8, size=(48, 48), supersampling=1, progress=False))
    return folder / "video.mp4"


@pytest.fixture
def arguments(subject, video, request) -> list[str]:
    """A command line without --out."""
    dataset, tracking = subject
    words = {
        "make": [
            video,
            "--quality",
            "draft",
            "--estimators",
            "truth",
            "--head",
            "procedural",
            "--device",
            "cpu",
        ],
        "preprocess": ["--video", video, "--estimators", "truth"],
        "track": ["--dataset", dataset, "--head", "procedural", "--device", "cpu"],
        "train": ["--dataset", dataset, "--tracking", tracking, "--head", "procedural", "--device", "cpu"],
        "synthetic": ["--frames", 2, "--size", 48, "--head", "procedural"],
        "demo": ["--quick"],
        "head make": [],
        "export-tracking": [tracking, "--to", "flame-npz", "--head", "procedural"],
    }[request.param]
    return [*request.param.split(), *map(str, words)]


def refusal(capsys, arguments: list[str], out: str | Path) -> str:
    """The line with which a command refuses its output folder."""
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--out", str(out)])
    errors = capsys.readouterr().err
    assert ended.value.code == 2, errors
    assert errors.count("error: ") == 1
    assert "Traceback" not in errors
    return errors.splitlines()[-1]


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@contextlib.contextmanager
def at_work(folder: Path) -> Iterator[None]:
    """Another program is at work in a folder of this program's kind."""
    with own_folder(folder):
        pass
    with exclusive_use(folder):
        yield


@pytest.mark.parametrize("arguments", COMMANDS, indirect=True)
def test_output_folders_that_cannot_be_used(arguments, tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    np.save(foreign / "scores.npy", np.ones(3))  # as an evaluation of an earlier version might have
    before = snapshot(tmp_path)
    for out, reason in (
        (tmp_path / "file", "exists|is a file"),
        (tmp_path / "file" / "x", "Not a directory"),
        (tmp_path / ("x" * 300), "too long"),
        (tmp_path.joinpath(*["x" * 200] * 25), "too long"),
        ("a\0b", "must be a path"),
        (foreign, "from elsewhere"),
    ):
        line = refusal(capsys, arguments, out)
        assert re.search(reason, line, re.IGNORECASE), (out, line)
        assert snapshot(tmp_path) == before


@pytest.mark.parametrize("arguments", COMMANDS, indirect=True)
def test_a_folder_in_which_another_run_is_at_work(arguments, tmp_path, capsys):
    with at_work(tmp_path / "out"):
        before = snapshot(tmp_path)
        assert "another run is at work" in refusal(capsys, arguments, tmp_path / "out")
        assert snapshot(tmp_path) == before
