"""Quality of avatars that were trained for the same time on the same data, side by side.

    python benchmarks/quality_bench.py [--seeds 1 2 3 | --dataset DIR --tracking NPZ [--split_config JSON]]
                                       [--minutes 5] [--config demo optimize_avatar] [--set KEY=VALUE ...]
                                       [--head NAME] [--out DIR] [--json FILE]

Each configuration is trained for --minutes of wall time, one after the other, and always finishes its schedule: two
short runs with one epoch of each stage, of which the second is timed, give the seconds of an epoch; then the epochs of
all stages, and the epochs at which loss weights change, are multiplied by one factor. The column `seconds` is the
time that the training really took, from start to the written avatar; on a machine that others use too it differs from
the target. Data that the configurations share is made once. --seeds makes synthetic people as `nha demo` does.

Rows: means over the training frames, over the held-out frames, and over the held-out frames driven by the tracking
alone (`held_out_unfitted`: their corrections are zero). lip_slope and lid_slope: how far mouth and eyelids of the
rendered mesh open where the annotated landmarks open by 1 (1 is right; nha/evaluation/landmark_motion.py).

--out receives an avatar, scores of every frame (scores.json) and contact sheets (train.png, held_out.png: truth,
rendering, error) for each configuration.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import time
from pathlib import Path

import numpy as np

from nha.avatar.base import HeadAvatar
from nha.avatar.open import load_avatar
from nha.cli.demo_subject import SubjectPaths, tracking_settings
from nha.cli.settings import DemoSettings
from nha.core.command_line import OptionParser
from nha.core.errors import UserError
from nha.core.json_file import undefined_as_null, write_json
from nha.core.paths import config_file
from nha.core.system import require_writable, run_script
from nha.core.tables import Table
from nha.data.dataset_folder import write_rgb
from nha.data.frame_dataset import FrameSplits
from nha.data.splits import Split, write_split
from nha.evaluation.comparison import contact_sheet
from nha.evaluation.landmark_motion import joined_openings, openings, slopes
from nha.evaluation.rendered_frames import PARTS as TRUE_PARTS
from nha.evaluation.rendered_frames import frames_of, render_dataset, render_frame
from nha.evaluation.scores import means, score_frames, write_scores
from nha.optimization.config import OptimizationSettings
from nha.optimization.run import optimize_avatar
from nha.pipeline.steps import Steps
from nha.preprocess.options import PreprocessOptions
from nha.preprocess.pipeline import build_dataset
from nha.synthetic.settings import SyntheticSettings
from nha.synthetic.write_dataset import write_subject
from nha.tracking.tracker import track_dataset

HEAD = "procedural"  # of the synthetic people
SCORES = ("psnr", "ssim", "head_psnr", "covered_psnr", "silhouette_iou") + tuple(
    f"{region}_psnr" for region in ("face", "eyes", "mouth", "hair")
)
SLOPES = ("lip_slope", "lid_slope")
KEYS = ("config", "part", "seconds", *SCORES, *SLOPES)
PARTS = {"train": ("train", True), "held_out": ("held_out", True), "held_out_unfitted": ("held_out", False)}
# Settings that hold numbers of epochs -> names of their stages in `OptimizationResult.stage_seconds`.
STAGE_OF_EPOCHS = {"epochs_offset": "geometry", "epochs_texture": "texture", "epochs_joint": "joint"}
PROBE_FRAMES = 32  # training frames of the run that measures the seconds of an epoch
SHEET_FRAMES = 8

Row = dict[str, float | str]


def main(argv: list[str] | None = None) -> None:
    """Train and evaluate every configuration on every subject; print the rows, write images and JSON."""
    arguments = parse(argv)
    out = require_writable(arguments.out)
    changes = dict(parse_change(text) for text in arguments.set)
    if arguments.dataset:
        subjects = {"": data_of_files(arguments)}
    else:
        size = (arguments.frames, arguments.size)
        subjects = {
            f"subject_{seed}": synthetic_subject(out / f"subject_{seed}", seed, *size)
            for seed in arguments.seeds
        }
    by_subject = []
    for name, data in subjects.items():
        for config in arguments.config:
            folder = out / name / config_file(config).stem
            settings = OptimizationSettings.from_ini(config, **{**data, **changes}, out=folder / "avatar")
            by_subject.append(rows_of(settings, folder, config_file(config).stem, 60 * arguments.minutes))
    rows = mean_rows(by_subject, len(arguments.config))
    print(Table(KEYS, [tuple(row[key] for key in KEYS) for row in rows], digits=3).as_text())
    if arguments.json:
        write_json(arguments.json, undefined_as_null(rows))


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line's options."""
    parser = OptionParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", help="seeds of synthetic subjects (default: 1 2)")
    parser.add_argument("--frames", type=int, default=40, help="frames of each synthetic video")
    parser.add_argument("--size", type=int, default=160, help="side of the synthetic videos in pixels; even")
    parser.add_argument("--dataset", type=Path, help="dataset folder instead of synthetic subjects")
    parser.add_argument("--tracking", type=Path, help="its tracking file, or the folder")
    parser.add_argument("--split_config", type=Path, help="its split.json; the dataset's own otherwise")
    parser.add_argument("--minutes", type=float, default=5.0, help="training time of each configuration")
    parser.add_argument(
        "--config", nargs="+", default=["demo", "optimize_avatar"], help="configurations: names or INI files"
    )
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="KEY=VALUE", help="settings that override all configurations"
    )
    parser.add_argument("--head", default="auto", help="head model of --dataset")
    parser.add_argument("--out", type=Path, default=Path("experiments/quality"), help="output folder")
    parser.add_argument("--json", type=Path, help="write the rows there")
    arguments = parser.parse_args(argv)
    if arguments.minutes <= 0:
        raise UserError(f"--minutes must be greater than 0, but is {arguments.minutes:g}")
    if arguments.dataset and arguments.seeds:
        raise UserError("--dataset and --seeds exclude each other; give one of them")
    if bool(arguments.dataset) != bool(arguments.tracking):
        raise UserError("--dataset and --tracking belong together; give both, or --seeds")
    names = [config_file(config).stem for config in arguments.config]
    if len(set(names)) < len(names):
        raise UserError("two configurations of --config have the same name; rename one of the files")
    arguments.seeds = arguments.seeds or [1, 2]
    return arguments


def parse_change(text: str) -> tuple[str, str]:
    """Key and value of an argument of --set."""
    key, equals, value = text.partition("=")
    if not equals:
        raise UserError(f"--set takes KEY=VALUE, but got '{text}'")
    return key, value


# --- data -----------------------------------------------------------------------------------------------


def data_of_files(arguments: argparse.Namespace) -> dict[str, object]:
    """The settings of the training that name dataset, tracking, split and head."""
    split = {"split_config": arguments.split_config} if arguments.split_config else {}
    return {"dataset": arguments.dataset, "tracking": arguments.tracking, "head": arguments.head, **split}


def synthetic_subject(folder: Path, seed: int, frames: int, size: int) -> dict[str, object]:
    """Video, annotations and tracking of a synthetic person, kept from an earlier call with the same settings."""
    paths = SubjectPaths(folder)
    video = SyntheticSettings(seed=seed, frames=frames, size=(size, size), head=HEAD)
    dataset = PreprocessOptions(video=paths.video, out_path=paths.dataset, estimators="truth", scale=size)
    tracking = tracking_settings(paths, DemoSettings())
    steps, history = Steps(folder / "steps.json"), ""
    folder.mkdir(parents=True, exist_ok=True)
    for step, options, target, action in (
        ("video", video, paths.video.parent, lambda: str(write_subject(paths.video.parent, video))),
        ("dataset", dataset, paths.dataset, lambda: str(build_dataset(dataset))),
        ("tracking", tracking, paths.tracking, lambda: str(track_dataset(tracking).path)),
    ):
        history += f"\n{options}"
        steps.run(f"{folder.name}: {step}", history, target, action)
    return {"dataset": paths.dataset, "tracking": paths.tracking, "head": HEAD}


# --- training for a given time --------------------------------------------------------------------------


def train_for(settings: OptimizationSettings, folder: Path, seconds: float) -> tuple[Path, float]:
    """Train an avatar in about `seconds`: the path of its checkpoint and the seconds that it took."""
    probe = probe_settings(settings, folder / "probe")
    optimize_avatar(probe)  # compiles kernels and fills caches
    start = time.perf_counter()
    stage_seconds = optimize_avatar(probe).stage_seconds
    before_and_after = time.perf_counter() - start - sum(stage_seconds.values())
    share = frame_share(FrameSplits(settings.data).split)
    planned = {
        name: stage_seconds.get(stage, 0.0) / share * getattr(settings.schedule, name)
        for name, stage in STAGE_OF_EPOCHS.items()
    }
    factor = max(seconds - before_and_after / share, 0.0) / max(sum(planned.values()), 1e-6)
    scaled = scaled_schedule(settings, factor)
    print(f"{folder}: epochs times {factor:.3g}, {epochs_text(scaled)}", flush=True)
    start = time.perf_counter()
    result = optimize_avatar(scaled)
    return result.avatar_path, time.perf_counter() - start


def epochs_text(settings: OptimizationSettings) -> str:
    """The numbers of epochs as text."""
    return ", ".join(f"{name} {getattr(settings.schedule, name)}" for name in STAGE_OF_EPOCHS)


def frame_share(split: Split) -> float:
    """The share of the frames that the probe takes."""
    return min(1.0, PROBE_FRAMES / len(split.train))


def probe_settings(settings: OptimizationSettings, folder: Path) -> OptimizationSettings:
    """One epoch of each stage of the settings, on a share of the frames, from scratch."""
    split = FrameSplits(settings.data).split
    step = 1 / frame_share(split)

    def some(ids: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(ids[int(i * step)] for i in range(math.ceil(len(ids) / step)))

    folder.mkdir(parents=True, exist_ok=True)
    split_file = folder.with_name(f"{folder.name}_split.json")  # a training takes an empty folder only
    write_split(split_file, Split(some(split.train), some(split.val)))
    epochs = {name: min(getattr(settings.schedule, name), 1) for name in STAGE_OF_EPOCHS}
    return dataclasses.replace(
        settings,
        run=dataclasses.replace(settings.run, default_root_dir=folder, resume=False),
        data=dataclasses.replace(settings.data, split_config=split_file),
        schedule=dataclasses.replace(settings.schedule, **epochs),
    )


def scaled_schedule(settings: OptimizationSettings, factor: float) -> OptimizationSettings:
    """The settings with all epochs, also those at which weights change, times a factor; no stage vanishes."""
    epochs = {name: getattr(settings.schedule, name) for name in STAGE_OF_EPOCHS}
    weights = {
        field.name: getattr(settings.losses, field.name) for field in dataclasses.fields(settings.losses)
    }
    fix_points = {
        name: [(value, factor * epoch) for value, epoch in points]
        for name, points in weights.items()
        if isinstance(points, list)
    }
    schedule = {name: max(round(factor * count), min(count, 1)) for name, count in epochs.items()}
    return dataclasses.replace(
        settings,
        run=dataclasses.replace(settings.run, resume=False),
        schedule=dataclasses.replace(settings.schedule, **schedule),
        losses=dataclasses.replace(settings.losses, **fix_points),
    )


# --- evaluation -----------------------------------------------------------------------------------------


def rows_of(settings: OptimizationSettings, folder: Path, config: str, seconds: float) -> list[Row]:
    """Train and evaluate one configuration on one subject: a row for each part of `PARTS` that has frames."""
    checkpoint, taken = train_for(settings, folder, seconds)
    avatar = load_avatar(checkpoint, settings.run.head)
    data = FrameSplits(settings.data)
    rows, scores, motion = [], [], {}
    for name, (part, fitted) in PARTS.items():
        if not frames_of(data, part).frame_ids:
            continue
        measured = []
        for _, rendered in render_dataset(avatar, data, [part], fitted=fitted, label=f"{config}: {name}"):
            scores += score_frames(name, rendered)
            measured.append(openings(rendered, avatar.head))
        motion[name] = slopes(joined_openings(measured))
        mean = means(scores)[name]
        row: Row = {"config": config, "part": name, "seconds": round(taken, 1)}
        rows.append(row | {key: mean[key] for key in SCORES} | {key: motion[name][key] for key in SLOPES})
    write_scores(folder / "scores.json", scores, {"config": config, "motion": motion})
    write_contact_sheets(folder, avatar, data)
    return rows


def write_contact_sheets(folder: Path, avatar: HeadAvatar, data: FrameSplits) -> None:
    """Write `train.png` and `held_out.png`: truth, rendering and error of some frames of each part."""
    for part in TRUE_PARTS:
        if ids := frames_of(data, part).frame_ids:
            picked = np.unique(np.linspace(0, len(ids) - 1, SHEET_FRAMES).round().astype(int))
            write_rgb(
                folder / f"{part}.png",
                contact_sheet([render_frame(avatar, data, part, ids[i]) for i in picked]),
            )


def mean_rows(by_subject: list[list[Row]], n_configs: int) -> list[Row]:
    """Rows of all subjects (configurations within subjects) as means over the subjects, undefined values left out."""
    rows = []
    for config in range(n_configs):
        for same in zip(*by_subject[config::n_configs], strict=True):
            row = dict(same[0])
            for key in KEYS[2:]:
                values = [float(one[key]) for one in same]
                known = [value for value in values if math.isfinite(value)]
                row[key] = sum(known) / len(known) if known else float("nan")
            rows.append(row)
    return rows


if __name__ == "__main__":
    run_script(main)
