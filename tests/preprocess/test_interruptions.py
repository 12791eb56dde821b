"""Runs that end early: killed by the system, out of disk space, or kept out by another run in the same folder."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nha.core import system
from nha.core.errors import UserError
from nha.core.manifest import Manifest
from nha.data.dataset_folder import DatasetFolder
from nha.preprocess.options import PreprocessOptions
from nha.preprocess.pipeline import build_dataset

N_FRAMES = 12

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and limits of POSIX")


@pytest.fixture(scope="module")
def video(tmp_path_factory, fakes) -> Path:
    """A video whose frames are noise, so that files are large, with a face on it."""
    rng = np.random.default_rng(0)
    frames = [
        np.maximum(image, rng.integers(0, 60, image.shape, np.uint8))
        for image in fakes.walking_square(N_FRAMES)
    ]
    return fakes.write_video(tmp_path_factory.mktemp("a video") / "video.mp4", frames)


@pytest.fixture
def options(video: Path, spaced_dir: Path) -> PreprocessOptions:
    return PreprocessOptions(video=video, out_path=spaced_dir / "data", scale=192)


@pytest.fixture(scope="module")
def whole(video: Path, fakes, contents, tmp_path_factory) -> dict[str, str]:
    """The contents of the dataset of a run that nothing interrupts."""
    out = tmp_path_factory.mktemp("whole") / "data"
    build_dataset(
        PreprocessOptions(video=video, out_path=out, scale=192), fakes.fake_estimators(sequential=True)
    )
    return contents(out)


RUNNER = """
import importlib.util, sys
from pathlib import Path
from nha.core.system import run_script
from nha.preprocess.options import PreprocessOptions
from nha.preprocess.pipeline import build_dataset

spec = importlib.util.spec_from_file_location("fakes", sys.argv[1])
fakes = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fakes)
options = PreprocessOptions(video=Path(sys.argv[2]), out_path=Path(sys.argv[3]), scale=192)
print("ready", flush=True)
sys.stdin.readline()
run_script(lambda: build_dataset(options, fakes.fake_estimators(sequential=True)))
"""


def start(fakes, options: PreprocessOptions, **popen) -> subprocess.Popen:
    """A process that makes the dataset with fake estimators as soon as it gets a line; everything is loaded."""
    checkout = Path(fakes.__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", RUNNER, fakes.__file__, str(options.video), str(options.out_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (checkout, checkout / "benchmarks")))},
        **popen,
    )
    assert process.stdout.readline() == "ready\n", process.stderr.read()
    return process


def go(process: subprocess.Popen) -> None:
    process.stdin.write("\n")
    process.stdin.flush()


@pytest.mark.parametrize(
    "shares", [(0.2, 0.6), pytest.param((0.1, 0.25, 0.4, 0.55, 0.7, 0.85), marks=pytest.mark.robustness)]
)
def test_a_run_killed_at_any_moment_continues_to_the_same_bytes(fakes, options, contents, whole, shares):
    begin = time.perf_counter()  # as fast as the machine is at present
    build_dataset(
        replace(options, out_path=options.out_path.with_name("timed")), fakes.fake_estimators(sequential=True)
    )
    seconds = time.perf_counter() - begin

    rng = np.random.default_rng()
    interrupted = 0
    for share in shares:
        process = start(fakes, options)
        go(process)
        time.sleep(seconds * (share + rng.uniform(-0.1, 0.1)))
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        interrupted += process.returncode == -signal.SIGKILL
    assert interrupted >= 1
    build_dataset(options, fakes.fake_estimators(sequential=True))
    assert contents(options.out_path) == whole


@pytest.mark.parametrize("last_step", ["remove_own", "compact"])
def test_a_run_killed_at_its_very_end_is_tidied_by_the_next(
    fakes, options, contents, whole, monkeypatch, last_step
):
    def kill(*_):
        (options.out_path / "..manifest.4194305.0123abcd.part.jsonl").touch()  # no process has this number
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Manifest, last_step, kill)
        with pytest.raises(KeyboardInterrupt):
            build_dataset(options, fakes.fake_estimators(sequential=True))
    assert contents(options.out_path) != whole
    build_dataset(options, fakes.fake_estimators(sequential=True))
    assert contents(options.out_path) == whole


def test_a_second_run_in_the_same_folder_is_refused_until_the_first_is_dead(fakes, options, contents, whole):
    first = start(fakes, options)
    go(first)
    while not (options.out_path / "dataset_info.json").exists():
        assert first.poll() is None, first.stderr.read()
        time.sleep(0.001)
    first.send_signal(signal.SIGSTOP)
    try:
        before = contents(options.out_path)
        with pytest.raises(UserError, match="another run is at work in .*choose another output folder"):
            build_dataset(options, fakes.fake_estimators(sequential=True))
        assert contents(options.out_path) == before
    finally:
        first.kill()
        first.communicate()
    build_dataset(options, fakes.fake_estimators(sequential=True))
    assert contents(options.out_path) == whole


def test_files_that_may_not_grow_as_on_a_full_disk(fakes, options, contents, whole):
    """No file above 50 kB: frames fit, the overview does not. A real error of the system, in a process of its own."""
    limit = 50_000
    process = start(
        fakes, options, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    )
    _, errors = process.communicate("\n", timeout=60)
    assert process.returncode == system.EXIT_USER_ERROR, errors
    last = errors.strip().splitlines()[-1]
    assert last.startswith("error: no room left in ")
    assert "start again" in last
    assert "Traceback" not in errors
    expect_whole_files_only(options.out_path)

    build_dataset(options, fakes.fake_estimators(sequential=True))
    assert contents(options.out_path) == whole


@pytest.mark.parametrize("n_written", [0, 1, 9, 40])
def test_a_full_disk_leaves_whole_files_and_the_run_continues(
    fakes, options, contents, whole, monkeypatch, n_written
):
    left = [n_written]
    replace_file = os.replace

    def full(source, target):
        if left[0] == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        left[0] -= 1
        replace_file(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(system.os, "replace", full)
        with pytest.raises(
            UserError, match="no room left in .*No space left on device.*start again"
        ) as caught:
            build_dataset(options, fakes.fake_estimators(sequential=True))
    assert "\n" not in str(caught.value)
    expect_whole_files_only(options.out_path)
    build_dataset(options, fakes.fake_estimators(sequential=True))
    assert contents(options.out_path) == whole


def expect_whole_files_only(root: Path) -> None:
    assert [path for path in root.rglob("*") if ".part" in path.name] == []
    assert not (root / "dataset.mp4").exists()
    for frame_id in DatasetFolder(root).frame_ids():
        assert all(path.stat().st_size > 0 for path in DatasetFolder(root).paths(frame_id).folder.iterdir())
