"""Fixtures for all tests, and thread limits, because tests run in parallel with one thread each."""

from __future__ import annotations

import os
import shutil
import signal

for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(
        _variable, "1"
    )  # set before other imports, because the libraries read them once when they load

import dataclasses
import logging
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from nha.data.dataset_folder import DatasetFolder, Keypoints, write_keypoints, write_labels, write_rgb
from nha.data.settings import DataSettings
from nha.data.splits import Split, write_split
from nha.data.tracking_file import TrackingResult, write_tracking
from nha.head.assets import HeadAssets
from nha.head.load import load_head
from nha.head.model import HeadModel
from tests.programs import run_file, run_package

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts its background jobs this way, and the programs that tests start and interrupt would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def messages_reach_pytest() -> None:
    """Let `caplog` record the package's log, also after a test that ran a program in this process."""
    logger = logging.getLogger("nha")
    logger.setLevel(logging.INFO)
    logger.propagate = True


@pytest.fixture(scope="session")
def assets() -> HeadAssets:
    """The procedural head's files."""
    return load_head("procedural")


@pytest.fixture(scope="session")
def head(assets) -> HeadModel:
    """The procedural head without subdivision, with soft labels; a test that changes it must restore it."""
    return HeadModel(assets, subdivisions=0)


@pytest.fixture
def kernel_device() -> str:
    """Where the kernels run: on the GPU, or on the CPU in Triton's interpreter."""
    triton = pytest.importorskip("triton", reason="the package triton is not installed")
    if triton.knobs.runtime.interpret:
        return "cpu"
    if not torch.cuda.is_available():
        pytest.skip("Triton needs a CUDA device, or TRITON_INTERPRET=1")
    return "cuda"


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root folder of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """`../shared` beside the checkout: specification, reference numbers and test video, no part of the project."""
    shared = REPOSITORY.parent / "shared"
    if not shared.is_dir():
        pytest.skip(f"reference material is not beside the checkout ({shared} does not exist)")
    return shared


@pytest.fixture(scope="session")
def golden_dir(shared_dir: Path) -> Path:
    """The reference numbers: folders a, c, tracker_a and networks."""
    golden = shared_dir / "golden"
    if not golden.is_dir():
        pytest.skip(f"there are no reference numbers ({golden} does not exist)")
    return golden


@pytest.fixture(scope="session")
def flame_like(shared_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of files in FLAME's formats with synthetic shapes, the head model of the reference numbers."""
    folder = tmp_path_factory.mktemp("flame_like")
    script = shared_dir / "flame_like" / "expand.py"
    subprocess.run([sys.executable, str(script), str(folder), "--no-chumpy"], check=True)
    return folder


@pytest.fixture(scope="session")
def flame_alone(flame_like: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with only FLAME's model file, like the release FLAME 2023 Open."""
    folder = tmp_path_factory.mktemp("flame_alone")
    shutil.copy(flame_like / "generic_model.pkl", folder / "flame2023_Open.pkl")
    return folder


@pytest.fixture
def spaced_dir(tmp_path: Path) -> Path:
    """An empty folder whose name contains spaces and quotes, for functions that take paths."""
    folder = tmp_path / 'it\'s a "quoted" folder'
    folder.mkdir()
    return folder


def pytest_terminal_summary(terminalreporter, config) -> None:
    """Print the totals of `make test-robustness`: what was tried, and how much of it held."""
    if config.option.markexpr != "robustness":
        return
    reports = [report for group in terminalreporter.stats.values() for report in group]
    inner = sum(
        number
        for report in reports
        if getattr(report, "when", "") == "teardown"
        for name, number in report.user_properties
        if name == "attempts"
    )
    count = {
        name: len(terminalreporter.stats.get(name, ())) for name in ("passed", "failed", "error", "skipped")
    }
    failed = count["failed"] + count["error"]
    terminalreporter.write_line(
        f"robustness: {count['passed'] + failed} checks tried, {count['passed']} held, {failed} failed, "
        f"{count['skipped']} skipped; {inner} damaged or hostile files were read in them"
    )


@dataclass(frozen=True)
class TinyDataset:
    """Paths of a dataset folder, its tracking file and a split."""

    data_path: Path
    tracking_path: Path
    split_path: Path


@pytest.fixture
def tiny_dataset(tmp_path: Path) -> Callable[..., TinyDataset]:
    """tiny_dataset(frame_ids=(0, 1, 2, 3), image_size=(24, 32)) writes a consistent dataset of noise.

    It serves tests of reading files, but shows no faces. The last frame is held out.
    """

    def write(
        frame_ids: Sequence[int] = (0, 1, 2, 3), image_size: tuple[int, int] = (24, 32), seed: int = 0
    ) -> TinyDataset:
        rng = np.random.default_rng(seed)
        folder = DatasetFolder(tmp_path / f"dataset {seed}")
        for frame_id in frame_ids:
            paths = folder.paths(frame_id)
            write_rgb(paths.image, rng.integers(0, 256, (*image_size, 3), np.uint8))
            write_rgb(paths.normals, rng.integers(0, 256, (*image_size, 3), np.uint8))
            write_labels(paths.parsing, rng.integers(0, 19, image_size, np.uint8))
            write_labels(paths.segmentation, rng.choice(np.uint8([0, 101, 200]), image_size))
            points = rng.uniform(0, min(image_size), (70, 2)).astype(np.float32)
            ones = np.ones(68, np.float32)
            write_keypoints(paths.keypoints, Keypoints(points[:68], 0 * ones, ones, points[68:]))
        tracking = noisy_tracking(rng, frame_ids, image_size)
        write_tracking(folder.root / "tracked_flame_params.npz", tracking)
        split = folder.root.parent / f"split {seed}.json"
        write_split(split, Split(train=tuple(frame_ids[:-1]), val=tuple(frame_ids[-1:])))
        return TinyDataset(folder.root, folder.root / "tracked_flame_params.npz", split)

    return write


@pytest.fixture
def six_frames(tiny_dataset) -> DataSettings:
    """Settings of a tiny dataset of six frames, the last of which is held out."""
    tiny = tiny_dataset(frame_ids=(0, 1, 2, 5, 6, 7), image_size=(12, 16))
    return DataSettings(
        tiny.data_path,
        tiny.tracking_path,
        tiny.split_path,
        train_batch_size=(3, 2, 1),
        validation_batch_size=(1, 1, 1),
    )


def noisy_tracking(
    rng: np.random.Generator, frame_ids: Sequence[int], image_size: tuple[int, int]
) -> TrackingResult:
    """A tracking result of noise, with the sizes of the published head model."""
    n = len(frame_ids)
    sizes = {
        "rotation": (n, 3), "translation": (n, 3), "neck_pose": (n, 3), "jaw_pose": (n, 3),
        "eyes_pose": (n, 6), "shape": (300,), "expr": (n, 100), "texture": (4,), "light": (n, 9, 3),
    }  # fmt: skip
    return TrackingResult(
        frame=np.array(frame_ids, np.int64),
        **{name: rng.normal(size=size).astype(np.float32) for name, size in sizes.items()},
        K=np.float32([2.0, 0.5, 0.52]),
        RT=np.eye(3, 4, dtype=np.float32),
        image_size=image_size,
        view=tuple(f"image_{i:04d}.png" for i in frame_ids),
        n_processed=n,
    )


@pytest.fixture
def make_tracking() -> Callable[..., TrackingResult]:
    """make_tracking(frame=(2, 5, 9), image_size=(96, 128), **changes) makes a tracking result of noise."""

    def make(
        frame: Sequence[int] = (2, 5, 9), image_size: tuple[int, int] = (96, 128), **changes
    ) -> TrackingResult:
        return dataclasses.replace(noisy_tracking(np.random.default_rng(3), frame, image_size), **changes)

    return make


@pytest.fixture(scope="session")
def run_script() -> Callable[..., subprocess.CompletedProcess]:
    """run_script("optimize_nha.py", "--help") runs a script of `python_scripts` and captures its output.

    A name with a slash is relative to the root folder of the checkout. The script runs in this process, with
    new_process=True in one of its own. The result has returncode, stdout and stderr (text).
    """

    def run(script: str, *arguments: str | Path, new_process: bool = False) -> subprocess.CompletedProcess:
        path = REPOSITORY / (script if "/" in script else f"python_scripts/{script}")
        if not new_process:
            return run_file(path, [*map(str, arguments)], REPOSITORY)
        return _run_process([str(path), *map(str, arguments)])

    return run


@pytest.fixture(scope="session")
def run_module() -> Callable[..., subprocess.CompletedProcess]:
    """run_module("nha", "--help") runs `python -m nha --help` as `run_script` does."""

    def run(module: str, *arguments: str | Path, new_process: bool = False) -> subprocess.CompletedProcess:
        if not new_process:
            return run_package(module, [*map(str, arguments)], REPOSITORY)
        return _run_process(["-m", module, *map(str, arguments)])

    return run


def _run_process(arguments: Sequence[str]) -> subprocess.CompletedProcess:
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=REPOSITORY)
