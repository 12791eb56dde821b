"""The whole path on two invented people: video, dataset, tracking, avatar, reenactment; then table and report.

Steps that an earlier run has finished with the same settings are not done again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import os
import shutil
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numba
import torch

from nha.avatar.open import open_avatar
from nha.core.config import parse_settings, setting
from nha.core.errors import UserError
from nha.core.html_report import Section
from nha.core.paths import CONFIGS
from nha.core.system import atomic_path, require_writable, run_script
from nha.data.frame_dataset import FrameSplits
from nha.data.tracking_file import read_tracking
from nha.evaluation.avatar_evaluation import evaluate_on_dataset
from nha.evaluation.demo_report import results_table, subject_section, write_demo_report
from nha.evaluation.tracking_errors import avatar_errors, summarise, tracking_errors
from nha.evaluation.truth import read_truth
from nha.head.assets import HeadAssets
from nha.head.load import load_head
from nha.optimization.config import OptimizationSettings
from nha.optimization.run import optimize_avatar
from nha.preprocess.dataset_info import read_info
from nha.preprocess.options import PreprocessOptions
from nha.preprocess.pipeline import build_dataset
from nha.reenactment.files import ReenactmentFiles
from nha.reenactment.run import reenact_avatar
from nha.reenactment.settings import ReenactmentSettings
from nha.synthetic.settings import SyntheticSettings
from nha.synthetic.write_dataset import write_subject
from nha.tracking.settings import BatchedSettings, TrackingSettings
from nha.tracking.tracker import track_dataset

HEAD = "procedural"
FEWEST_FRAMES = 8
QUICK_EPOCHS = {"epochs_offset": 1, "epochs_texture": 1, "epochs_joint": 1}


@dataclass(frozen=True)
class DemoSettings:
    """Settings of `run_demo.py`."""

    out: Path = setting(Path("experiments/demo"), help="Output folder.")
    frames: int = setting(40, help="Frames of each video.")
    size: int = setting(160, help="Height and width of the videos in pixels; even.")
    seeds: tuple[int, int] = setting((1, 2), help="Which two people; the second one moves the first.")
    quick: bool = setting(
        False, help="One epoch a stage and few tracking steps: shows that it runs, not how good it is."
    )
    optimization: Path = setting(
        CONFIGS / "demo.ini", help="Settings of the avatars' optimisation, an INI file."
    )


@dataclass(frozen=True)
class SubjectPaths:
    """Where everything of one subject lies."""

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
    def film(self) -> Path:
        return self.root / "comparison.mp4"

    @property
    def log(self) -> Path:
        return self.root / "log.txt"

    def steps(self) -> Steps:
        return Steps(self.root / "steps.json")


class Steps:
    """Runs named steps once: `steps.json` remembers their settings, how long they took and what they returned."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: dict[str, dict] = json.loads(path.read_text("utf-8")) if path.is_file() else {}

    def run(self, name: str, settings: str, folder: Path, action: Callable[[], object]) -> dict:
        """Run `action`, which fills `folder` and returns what JSON can hold, unless it was done before.

        settings: everything that decides the result, as text. What other settings have left in the folder is
        removed; an interrupted step finds its own work there. Returns the record: settings (a digest), seconds,
        result.
        """
        settings = hashlib.sha256(settings.encode()).hexdigest()
        record = self.records.get(name, {})
        if record.get("settings") != settings:
            shutil.rmtree(folder, ignore_errors=True)
            record = {"settings": settings}
            self._keep(name, record)
        if "seconds" in record and folder.exists():
            print(f"== {name}: done before ({record['seconds']:.0f} s)")
            return record
        print(f"== {name}")
        start = time.perf_counter()
        result = action()
        record = {"settings": settings, "seconds": round(time.perf_counter() - start, 2), "result": result}
        self._keep(name, record)
        return record

    def _keep(self, name: str, record: dict) -> None:
        self.records[name] = record
        with atomic_path(self.path) as temporary:
            temporary.write_text(json.dumps(self.records, indent=1), encoding="utf-8")


def main() -> None:
    """Do everything and say where the results are."""
    settings = parse_settings(DemoSettings, description=__doc__)
    if settings.frames < FEWEST_FRAMES:
        raise UserError(f"--frames must be at least {FEWEST_FRAMES}, but is {settings.frames}")
    if settings.seeds[0] == settings.seeds[1]:
        raise UserError("--seeds must be two different numbers: one person moves the other")
    out = require_writable(settings.out)
    start = time.perf_counter()
    assets = load_head(HEAD)
    subjects = [SubjectPaths(out / f"subject_{seed}") for seed in settings.seeds]

    results, sections = [], []
    with second_subject_beside(settings, subjects[1]):
        seconds = [make_avatar(settings.seeds[0], subjects[0], settings, assets)]
    seconds.append(make_avatar(settings.seeds[1], subjects[1], settings, assets))
    for i, paths in enumerate(subjects):
        result, section = judge(settings.seeds[i], paths, settings, assets, seconds[i])
        results.append(result)
        sections.append(section)
    films = reenact_subjects(*subjects, out)

    table = results_table(results)
    report = write_demo_report(out, table, sections, films.side_by_side)
    content = {"settings": describe(settings), "subjects": results}
    with atomic_path(out / "results.json") as temporary:
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
    print(f"\n{table.as_text()}\n")
    print(f"results.json and the report say more; {time.perf_counter() - start:.0f} s in all")
    for path in (out / "results.json", report, films.side_by_side):
        print(path)


# --- from a seed to an avatar ----------------------------------------------------------------------------


def make_avatar(
    seed: int, paths: SubjectPaths, settings: DemoSettings, assets: HeadAssets
) -> dict[str, float]:
    """Video, dataset, tracking and avatar of one subject; returns the seconds of each stage."""
    name = paths.root.name
    drawing = SyntheticSettings(
        seed=seed, frames=settings.frames, size=(settings.size, settings.size), head=HEAD
    )
    preparation = PreprocessOptions(
        video=paths.video, out_path=paths.dataset, estimators="truth", scale=settings.size
    )
    tracking = tracking_settings(paths, settings)
    training = optimization_settings(paths, settings)

    def optimize() -> dict[str, float]:
        return optimize_avatar(training).stage_seconds

    # Each step depends on all that went before, the first one on the head model.
    history = f"head {zlib.crc32(assets.template_vertices.tobytes() + assets.shape_directions.tobytes())}"
    seconds, steps = {}, paths.steps()
    for step, options, folder, action in (
        ("video", drawing, paths.video.parent, lambda: str(write_subject(paths.video.parent, drawing))),
        ("dataset", preparation, paths.dataset, lambda: read_info(build_dataset(preparation)).n_frames),
        ("tracking", tracking, paths.tracking, lambda: str(track_dataset(tracking).path)),
        ("avatar", training, paths.avatar, optimize),
    ):
        history += f"\n{options}"
        record = steps.run(f"{name}: {step}", history, folder, action)
        seconds |= record["result"] if step == "avatar" else {step: record["seconds"]}
    return seconds


@contextlib.contextmanager
def second_subject_beside(settings: DemoSettings, paths: SubjectPaths) -> Iterator[None]:
    """Work on the second subject in another process while the block runs, each with half of the cores.

    Two processes use two cores better than the threads of one. If the other one fails, nothing is lost: whoever
    calls `make_avatar` afterwards goes on where it stopped, and shows what is wrong.
    """
    cores = os.cpu_count() or 1
    if cores == 1:
        yield
        return
    torch.set_num_threads(cores // 2)
    numba.set_num_threads(min(cores // 2, numba.config.NUMBA_NUM_THREADS))
    paths.root.mkdir(parents=True, exist_ok=True)
    print(f"{paths.root.name} is worked on beside; its log: {paths.log}")
    # spawned, not forked: OpenMP and Numba do not survive a fork
    context = multiprocessing.get_context("spawn")
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
    """Environment for a new process; taken back, because Numba refuses to run when its own changes."""
    variables = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    added = [name for name in variables if name not in os.environ]
    os.environ.update({name: str(n_threads) for name in added})
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def make_second_avatar(settings: DemoSettings, paths: SubjectPaths) -> None:
    """The other process: everything that it prints goes into the subject's log."""
    with open(paths.log, "w", encoding="utf-8", buffering=1) as log:
        for descriptor in (1, 2):
            os.dup2(log.fileno(), descriptor)
        make_avatar(settings.seeds[1], paths, settings, load_head(HEAD))


def tracking_settings(paths: SubjectPaths, settings: DemoSettings) -> TrackingSettings:
    """How the demo tracks."""
    steps = BatchedSettings(appearance_steps=5, refine_steps=5) if settings.quick else BatchedSettings()
    return TrackingSettings(data_path=paths.dataset, output_path=paths.tracking, head=HEAD, batched=steps)


def optimization_settings(paths: SubjectPaths, settings: DemoSettings) -> OptimizationSettings:
    """How the demo optimises avatars: the INI file's settings on this subject's data."""
    changed = {
        "data_path": paths.dataset,
        "tracking_results_path": paths.tracking,
        "default_root_dir": paths.avatar,
        "head": HEAD,
        **(QUICK_EPOCHS if settings.quick else {}),
    }
    arguments = [text for key, value in changed.items() for text in (f"--{key}", str(value))]
    return parse_settings(
        OptimizationSettings, ["--config", str(settings.optimization), *arguments], description=__doc__
    )


# --- how good it is --------------------------------------------------------------------------------------


def judge(
    seed: int, paths: SubjectPaths, settings: DemoSettings, assets: HeadAssets, seconds: dict[str, float]
) -> tuple[dict, Section]:
    """Compare tracking and mesh with the truth, and pictures with the video: results and report section."""
    start = time.perf_counter()
    tracking, truth = read_tracking(paths.tracking), read_truth(paths.truth)
    errors = summarise(tracking_errors(assets, tracking, truth))
    data = FrameSplits(optimization_settings(paths, settings).data)
    avatar = open_avatar(paths.avatar / "avatar.ckpt", HEAD)
    evaluation = evaluate_on_dataset(avatar, data, paths.film)
    fitted = summarise(avatar_errors(assets, avatar, tracking, data.split.frame_ids(), truth))
    held_out = evaluation.means["held_out"]
    result = {
        "name": paths.root.name,
        "seed": seed,
        "annotations": "truth",
        "frames": len(tracking),
        "rotation_deg": errors["rotation_deg"]["mean"],
        "translation_mm": errors["translation_mm"]["mean"],
        "landmark_px": errors["landmark_px"]["mean"],
        "psnr": held_out["head_psnr"],
        "ssim": held_out["head_ssim"],
        "psnr_covered": held_out["covered_psnr"],
        "silhouette_iou": held_out["silhouette_iou"],
        "vertex_mm": errors["vertex_mm"]["mean"],
        "tracking": errors,
        "avatar": fitted,
        "scores": evaluation.means,
        "seconds": seconds | {"evaluation": round(time.perf_counter() - start, 2)},
    }
    return result, subject_section(result, evaluation, paths.tracking / "tracking.mp4")


# --- reenactment ----------------------------------------------------------------------------------------


def reenact_subjects(target: SubjectPaths, driving: SubjectPaths, out: Path) -> ReenactmentFiles:
    """The first subject moved by the second."""
    options = ReenactmentSettings(
        target_ckpt=target.avatar / "avatar.ckpt",
        target_tracking_results=target.tracking,
        driving_ckpt=[driving.avatar / "avatar.ckpt"],
        driving_tracking_results=[driving.tracking],
        outpath=out / "reenactment",
        head=HEAD,
    )
    trained = [paths.steps().records[f"{paths.root.name}: avatar"]["settings"] for paths in (target, driving)]
    history = "\n".join([*trained, repr(options)])
    steps = Steps(out / "steps.json")
    steps.run("reenactment", history, options.outpath, lambda: str(reenact_avatar(options)[0].side_by_side))
    return ReenactmentFiles.at(options.outpath)


def describe(settings: DemoSettings) -> dict[str, object]:
    """The settings as JSON can hold them."""
    return {
        "frames": settings.frames,
        "size": settings.size,
        "seeds": list(settings.seeds),
        "quick": settings.quick,
        "optimization": settings.optimization.name,
    }


if __name__ == "__main__":
    run_script(main)
