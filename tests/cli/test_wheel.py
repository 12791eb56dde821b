"""The wheel holds everything: it is installed into an empty folder and used from another one, without the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(repository, tmp_path_factory) -> Path:
    """The wheel of a copy of the sources (a build writes beside them)."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "LICENSE"):
        shutil.copy(repository / name, source)
    shutil.copytree(repository / "nha", source / "nha", ignore=shutil.ignore_patterns("__pycache__"))
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--wheel-dir", out)
    pip("wheel", *options, source)
    return next(out.glob("nha-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """installed(*words) runs `nha WORDS` of the installed wheel in an empty folder: the process, the folder."""
    packages, elsewhere = tmp_path_factory.mktemp("packages"), tmp_path_factory.mktemp("elsewhere")
    pip("install", "--no-deps", "--no-index", "--quiet", "--target", packages, wheel)
    environment = {key: value for key, value in os.environ.items() if key != "NHA_ASSETS"}
    environment |= {"PYTHONPATH": str(packages), "XDG_CACHE_HOME": str(elsewhere / "cache")}

    def run(*words: str | Path) -> tuple[subprocess.CompletedProcess, Path]:
        command = [sys.executable, packages / "bin" / "nha", *words]
        return subprocess.run(
            command, cwd=elsewhere, env=environment, capture_output=True, text=True
        ), elsewhere

    return run


def pip(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_wheel_holds_every_file_of_the_package(wheel, repository):
    held = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("nha/")}
    files = {
        path.relative_to(repository).as_posix() for path in (repository / "nha").rglob("*") if path.is_file()
    }
    files = {name for name in files if "__pycache__" not in name}
    assert held == files
    assert {"nha/configs/demo.ini", "nha/configs/body_part_weights.json"} <= held


@pytest.mark.parametrize("words", [("--help",), ("demo", "--help"), ("train", "--help")])
def test_help_from_the_wheel(installed, words):
    done, _ = installed(*words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: nha")


def test_a_video_and_its_dataset_are_made_from_the_wheel(installed):
    done, folder = installed("synthetic", "--out", "person", "--frames", "2", "--size", "64")
    assert done.returncode == 0, done.stderr[-2000:]
    assert (folder / "assets" / "procedural").is_dir()  # the head model, generated in the working directory
    video = folder / "person" / "video.mp4"
    done, _ = installed(
        "preprocess", "--video", video, "--out", "data", "--estimators", "truth", "--scale", "64"
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert (folder / "data" / "frame_0001").is_dir()
    missing = ("--dataset", "data", "--tracking", "nothing", "--out", "avatar")
    done, _ = installed("train", "--config", "demo", *missing)
    assert done.returncode == 2
    assert "no tracking file at 'nothing'" in done.stderr
