"""Programs killed at random moments continue to the same result; concurrent runs and full disks lose nothing."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from nha.core.output_folder import own_folder
from nha.core.system import PARTIAL_NAME
from nha.data.tracking_file import read_tracking
from nha.preprocess.options import PreprocessOptions
from nha.preprocess.pipeline import build_dataset
from nha.synthetic.settings import SyntheticSettings
from nha.synthetic.write_dataset import write_subject
from tests.optimization.conftest import as_options, settings_of
from tests.optimization.conftest import make_settings as make_settings
from tests.optimization.conftest import subject as subject

pytestmark = [pytest.mark.robustness, pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")]

OTHER_FILE_SYSTEM = Path(os.environ.get("XDG_RUNTIME_DIR") or "/dev/shm")


def start(repository: Path, *arguments: object, tmp: Path | None = None) -> subprocess.Popen:
    environment = os.environ | ({} if tmp is None else {"TMPDIR": str(tmp)})
    return subprocess.Popen(
        [sys.executable, "-m", "nha", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=repository, env=environment,
    )  # fmt: skip


def finish(repository: Path, *arguments: object, tmp: Path | None = None) -> None:
    process = start(repository, *arguments, tmp=tmp)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors[-2000:]


def kill_when(process: subprocess.Popen, folder: Path, delay_s: float) -> None:
    """Kill a program some time after its output folder has appeared; it may have ended before."""
    until = time.monotonic() + 120
    while not (folder.is_dir() and any(folder.iterdir())) and process.poll() is None:
        assert time.monotonic() < until, "the program wrote nothing"
        time.sleep(0.005)
    time.sleep(delay_s)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)


def left_half_written(folder: Path) -> list[Path]:
    """What killed runs have left of files that they were writing."""
    return [path for path in folder.rglob(".*.part*") if PARTIAL_NAME.fullmatch(path.name)]


def states(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)["state_dict"]


@pytest.fixture(params=["same file system", "another file system"])
def output(request, tmp_path):
    if request.param == "same file system":
        yield tmp_path / "killed"
        return
    if not OTHER_FILE_SYSTEM.is_dir() or OTHER_FILE_SYSTEM.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no other file system is mounted")
    folder = OTHER_FILE_SYSTEM / f"nha_kill_test_{os.getpid()}"
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("seed", range(5))
def test_training_killed_at_random_moments(make_settings, repository, tmp_path, output, seed):
    rng = random.Random(seed)
    settings = make_settings((2, 2, 2), "whole", checkpoint_period=1)
    arguments = ["train", *as_options(settings), "--checkpoint_period=1"]
    killed = [f"--default_root_dir={output}" if a.startswith("--default_root_dir") else a for a in arguments]
    finish(repository, *arguments)
    for _ in range(2):
        kill_when(start(repository, *killed, tmp=tmp_path), output, rng.uniform(0, 4))
    finish(repository, *killed, tmp=tmp_path)
    assert not left_half_written(output)
    assert not left_half_written(settings.data.data_path)
    one, two = states(settings.run.default_root_dir / "avatar.ckpt"), states(output / "avatar.ckpt")
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("seed", range(5))
def test_tracking_killed_at_random_moments(subject, repository, tmp_path, output, seed):
    rng = random.Random(seed)
    common = ["track", "--dataset", subject[0], "--head", "procedural", "--device", "cpu", "--batch_size", 1]
    common += ["--refine_steps", 2, "--appearance_steps", 2, "--joint_steps", 0, "--video", "false"]
    finish(repository, *common, "--out", tmp_path / "whole")
    for _ in range(2):
        kill_when(start(repository, *common, "--out", output, tmp=tmp_path), output, rng.uniform(0, 2))
    finish(repository, *common, "--out", output, tmp=tmp_path)
    assert not left_half_written(output)
    one, two = read_tracking(tmp_path / "whole"), read_tracking(output)
    for name in ("expr", "rotation", "translation", "shape", "K"):
        assert np.allclose(getattr(one, name), getattr(two, name), atol=1e-5), name


@pytest.fixture(scope="module")
def avatar(subject, repository, tmp_path_factory) -> Path:
    """The folder of a trained avatar."""
    out = tmp_path_factory.mktemp("trained") / "avatar"
    finish(repository, "train", *as_options(settings_of(subject, out)))
    return out


@pytest.mark.parametrize("name", ["synthetic", "evaluate", "export", "reenact", "export-tracking"])
def test_a_folder_in_which_another_program_is_at_work_is_refused(subject, avatar, repository, tmp_path, name):
    (dataset, tracking), out = subject, tmp_path / "run"
    avatar_options = ["--avatar", avatar / "avatar.ckpt", "--tracking", tracking, "--device", "cpu"]
    arguments = {
        "synthetic": ["--frames", 2, "--size", 64, "--head", "procedural"],
        "evaluate": [*avatar_options, "--dataset", dataset, "--split", "all"],
        "export": avatar_options,
        "reenact": [*avatar_options, "--driving_tracking_results", tracking],
        "export-tracking": [tracking, "--to", "flame-npz", "--head", "procedural"],
    }[name]
    with own_folder(out):
        before = sorted(out.iterdir())
        process = start(repository, name, *arguments, "--out", out)
        _, errors = process.communicate(timeout=300)
        assert sorted(out.iterdir()) == before
    assert process.returncode == 2, errors[-2000:]
    assert "another run is at work" in errors.strip().splitlines()[-1]


@pytest.mark.parametrize("name", ["train", "track"])
def test_of_two_programs_in_one_folder_one_is_refused(make_settings, subject, repository, tmp_path, name):
    if name == "train":  # the first must not end before the other starts
        arguments = ["train", *as_options(make_settings((60, 0, 0)))]
    else:
        arguments = ["track", "--dataset", subject[0], "--head", "procedural", "--out", tmp_path / "run"]
    both = [start(repository, *arguments) for _ in range(2)]
    errors = [process.communicate(timeout=300)[1] for process in both]
    assert sorted(process.returncode for process in both) == [0, 2], errors
    assert any("another run is at work" in text for text in errors)


@pytest.mark.parametrize("size_kb", [100, 1000, 4000])
def test_a_full_disk_ends_training_in_one_line(make_settings, repository, tmp_path, size_kb):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size_kb}k", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        settings = make_settings((2, 0, 0), checkpoint_period=1)
        arguments = [f"--default_root_dir={disk / 'run'}" if a.startswith("--default_root_dir") else a
                     for a in as_options(settings)]  # fmt: skip
        process = start(repository, "train", *arguments, "--checkpoint_period=1")
        _, errors = process.communicate(timeout=300)
        last = errors.strip().splitlines()[-1]
        assert process.returncode == 2, errors[-2000:]
        assert "no room left" in last
        assert "Traceback" not in errors, errors[-3000:]
        assert not list((disk / "run").glob("*.part*"))
    finally:
        subprocess.run(["umount", str(disk)], check=False)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("name", ["preprocess", "track", "synthetic"])
def test_signals_end_every_program_with_their_code(subject, repository, tmp_path, name, number):
    out = tmp_path / "out"
    arguments = {
        "synthetic": ["synthetic", "--out", out, "--frames", 500, "--size", 64, "--head", "procedural"],
        "track": [
            "track",
            "--dataset",
            subject[0],
            "--out",
            out,
            "--head",
            "procedural",
            "--refine_steps",
            10000,
        ],
        "preprocess": [
            "preprocess",
            "--video",
            subject[0].parent / "video.mp4",
            "--out",
            out,
            "--estimators",
            "truth",
        ],
    }[name]
    process = start(repository, *arguments)
    until = time.monotonic() + 120
    while not out.exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    if process.returncode == 0 and name == "preprocess":
        pytest.skip("four frames were done before the signal arrived")
    assert process.returncode == 128 + number, errors[-2000:]
    assert "Traceback" not in errors


def test_a_dataset_killed_in_every_step_ends_with_the_same_files(tmp_path, repository):
    write_subject(tmp_path, SyntheticSettings(frames=12, size=(64, 64), supersampling=1, progress=False))
    options = PreprocessOptions(
        video=tmp_path / "video.mp4", out_path=tmp_path / "whole", estimators="truth", scale=64
    )
    build_dataset(options)
    command = ["preprocess", "--video", options.video, "--out", tmp_path / "cut", "--estimators", "truth"]
    rng = random.Random(0)
    for _ in range(8):
        kill_when(start(repository, *command, "--scale", 64), tmp_path / "cut", rng.uniform(0, 0.3))
    finish(repository, *command, "--scale", 64)
    for path in (tmp_path / "whole").rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "cut" / path.relative_to(tmp_path / "whole")).read_bytes()
