"""One subject of the demo: its files, its resumable steps, and the path from a seed to an avatar."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numba
import torch

from nha.cli.settings import DemoSettings
from nha.core.json_file import read_json_object
from nha.core.output_folder import own_folder
from nha.core.system import setup_logging
from nha.head.assets import HeadAssets
from nha.head.load import load_head
from nha.optimization.config import OptimizationSettings
from nha.optimization.run import optimize_avatar
from nha.pipeline.steps import Steps
from nha.preprocess.dataset_info import read_info
from nha.preprocess.options import PreprocessOptions
from nha.preprocess.pipeline import build_dataset
from nha.synthetic.settings import SyntheticSettings
from nha.synthetic.write_dataset import write_subject
from nha.tracking.settings import BatchedSettings, TrackingSettings
from nha.tracking.tracker import track_dataset

HEAD = "procedural"
QUICK_EPOCHS = {
    "epochs_offset": 1,
    "epochs_texture": 1,
    "epochs_joint": 1,
    "schedule_frames": 0,
    "held_out_steps": 1,
}


@dataclass(frozen=True)
class SubjectPaths:
    """Files and folders of one subject."""

    root: Path

    @property
    def video(self) -> Path:
        return self.root / "video" / "video.mp4"

    @property
    def truth(self) -> Path:
        return self.root / "video" / "truth"

    @property
    def dataset(self) -> Path:
        return self.root / "dataset"

    @property
    def tracking(self) -> Path:
        return self.root / "tracking"

    @property
    def avatar(self) -> Path:
        return self.root / "avatar"

    @property
    def comparison(self) -> Path:
        return self.root / "comparison.mp4"

    @property
    def log(self) -> Path:
        return self.root / "log.txt"

    def steps(self) -> Steps:
        return Steps(self.root / "steps.json")


def files_of_earlier_versions(root: Path) -> list[str]:
    """The files of a subject whose version of this program kept no manifest; empty for a folder from elsewhere."""
    names = ("steps.json", "comparison.mp4", "log.txt")
    return (
        [name for name in names if (root / name).is_file()] if read_json_object(root / "steps.json") else []
    )


def make_avatar(
    seed: int, paths: SubjectPaths, settings: DemoSettings, assets: HeadAssets
) -> dict[str, float]:
    """Make video, dataset, tracking and avatar of one subject; returns the seconds of each stage."""
    name = paths.root.name
    video = SyntheticSettings(
        seed=seed, frames=settings.frames, size=(settings.size, settings.size), head=HEAD
    )
    dataset = dataset_settings(paths, settings)
    tracking = tracking_settings(paths, settings)
    training = optimization_settings(paths, settings)

    def optimize() -> dict[str, float]:
        return optimize_avatar(training).stage_seconds

    # Each step depends on all earlier ones, the first one on the head model.
    history = f"head {zlib.crc32(assets.template_vertices.tobytes() + assets.shape_directions.tobytes())}"
    seconds, steps = {}, paths.steps()
    for step, options, folder, action in (
        ("video", video, paths.video.parent, lambda: str(write_subject(paths.video.parent, video))),
        ("dataset", dataset, paths.dataset, lambda: read_info(build_dataset(dataset)).n_frames),
        ("tracking", tracking, paths.tracking, lambda: str(track_dataset(tracking).path)),
        ("avatar", training, paths.avatar, optimize),
    ):
        history += f"\n{options}"
        record = steps.run(f"{name}: {step}", history, folder, action)
        seconds |= record["result"] if step == "avatar" else {step: record["seconds"]}
    return seconds


@contextlib.contextmanager
def second_subject_in_parallel(settings: DemoSettings, paths: SubjectPaths) -> Iterator[None]:
    """Make the second subject's avatar in another process while the block runs, each with half of the cores.

    Two processes use two cores better than two threads of one process. If the other process fails, a later call of
    `make_avatar` continues its work and shows the error.
    """
    cores = os.cpu_count() or 1
    if cores == 1:
        yield
        return
    torch.set_num_threads(cores // 2)
    numba.set_num_threads(min(cores // 2, numba.config.NUMBA_NUM_THREADS))
    paths.root.mkdir(parents=True, exist_ok=True)
    print(f"{paths.root.name} is processed in parallel; its log: {paths.log}")
    context = multiprocessing.get_context("spawn")  # OpenMP and Numba do not work after a fork
    process = context.Process(target=make_second_avatar, args=(settings, paths), daemon=True)
    with thread_variables(cores // 2):
        process.start()
    try:
        yield
        print(f"waiting for {paths.root.name}")
        process.join()
    finally:
        process.terminate()


@contextlib.contextmanager
def thread_variables(n_threads: int) -> Iterator[None]:
    """Set the environment of a new process; removed again, because Numba does not allow changes while it runs."""
    variables = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    added = [name for name in variables if name not in os.environ]
    os.environ.update({name: str(n_threads) for name in added})
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def make_second_avatar(settings: DemoSettings, paths: SubjectPaths) -> None:
    """The function of the other process; all that it prints goes to the subject's log."""
    setup_logging()
    held = own_folder(paths.root, of_earlier_version=files_of_earlier_versions)
    with held, open(paths.log, "a", encoding="utf-8", buffering=1) as log:
        for descriptor in (1, 2):
            os.dup2(log.fileno(), descriptor)
        make_avatar(settings.seeds[1], paths, settings, load_head(HEAD))


def dataset_settings(paths: SubjectPaths, settings: DemoSettings) -> PreprocessOptions:
    """The demo's settings of the dataset."""
    return PreprocessOptions(
        video=paths.video,
        out_path=paths.dataset,
        estimators=settings.annotations,
        scale=settings.size,
        crop_to_head="auto" if settings.annotations == "truth" else "false",  # the truth is of whole frames
    )


def tracking_settings(paths: SubjectPaths, settings: DemoSettings) -> TrackingSettings:
    """The demo's settings of the tracker."""
    steps = BatchedSettings(appearance_steps=5, refine_steps=5) if settings.quick else BatchedSettings()
    return TrackingSettings(data_path=paths.dataset, output_path=paths.tracking, head=HEAD, batched=steps)


def optimization_settings(paths: SubjectPaths, settings: DemoSettings) -> OptimizationSettings:
    """The demo's settings of the training: the INI file's, for this subject's data."""
    return OptimizationSettings.from_ini(
        settings.training,
        dataset=paths.dataset,
        tracking=paths.tracking,
        out=paths.avatar,
        head=HEAD,
        **(QUICK_EPOCHS if settings.quick else {}),
    )
