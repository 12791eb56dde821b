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
def sdist(repository, tmp_path_factory) -> Path:
    """The sdist of a copy of the tracked files (a build writes beside them), unpacked."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("sdist")
    for name in tracked_files(repository):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(repository / name, source / name, follow_symlinks=False)
    code = f"from setuptools import build_meta; build_meta.build_sdist({str(out)!r})"
    done = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    shutil.unpack_archive(next(out.glob("nha-*.tar.gz")), out, filter="data")
    return next(path for path in out.iterdir() if path.is_dir())


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory) -> Path:
    """The wheel that the sdist builds."""
    out = tmp_path_factory.mktemp("wheel")
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--wheel-dir", out)
    pip("wheel", *options, sdist)
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


def tracked_files(repository: Path) -> list[str]:
    """The repository's files; skips without git."""
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
    if shutil.which("git") is None or not (repository / ".git").exists():
        pytest.skip("needs git and a clone: the list of the repository's files")
    listed = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.split("\0") if name and (repository / name).exists()]


def pip(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_sdist_holds_the_repository(sdist, repository):
    held = {path.relative_to(sdist).as_posix() for path in sdist.rglob("*") if path.is_file()}
    files = {name for name in tracked_files(repository) if name != "configs"}  # a link, stored as its files
    assert files <= held
    assert "configs/demo.ini" in held
    assert not {name for name in held if name.startswith("assets/")} - {"assets/README.md"}


def test_the_readme_is_the_description(wheel, repository):
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith("/METADATA"))
        metadata, _, text = archive.read(name).decode().partition("\n\n")
    assert "Description-Content-Type: text/markdown" in metadata
    assert text.strip() == (repository / "README.md").read_text("utf-8").strip()


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
