"""From a video to an avatar: dataset, tracking, training, evaluation, export and a report with a verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nha.core.config import different_settings, format_settings
from nha.core.errors import UserError
from nha.core.json_file import json_text, read_json_object, write_json
from nha.core.output_folder import own_folder
from nha.core.progress import duration
from nha.core.system import atomic_path, get_logger
from nha.core.text import printable
from nha.data.video_io import count_packets, video_info
from nha.evaluation.evidence import collect_evidence
from nha.evaluation.run import evaluate_avatar
from nha.evaluation.settings import EvaluationSettings
from nha.evaluation.verdict import Verdict, judge
from nha.export.run import export_avatar
from nha.export.settings import ExportSettings
from nha.optimization.config import OptimizationSettings
from nha.optimization.run import optimize_avatar
from nha.pipeline.estimate import estimate, require_packages, require_room
from nha.pipeline.report import write_make_report
from nha.pipeline.settings import MakeSettings
from nha.pipeline.steps import Steps, remove_step
from nha.preprocess.dataset_info import describe_video, read_info
from nha.preprocess.options import PreprocessOptions
from nha.preprocess.pipeline import build_dataset
from nha.tracking.settings import TrackingSettings
from nha.tracking.tracker import track_dataset

RUN_FILE, VERDICT_FILE, TEXT_FILE, STEPS_FILE = "make.json", "verdict.json", "verdict.txt", "steps.json"
STEPS = ("dataset", "tracking", "avatar", "evaluation", "export")
_DATA = ("dataset/dataset_info.json", "tracking/tracked_flame_params.npz", "evaluation/scores.json")
FEWEST_FRAMES = 8
SLOWEST_VIDEO_FPS = 8.0  # of videos with few frames, which would hardly move otherwise
_WITHOUT_INFLUENCE = ("video", "out", "resume", "device")

_logger = get_logger(__name__)


@dataclass(frozen=True)
class MadeAvatar:
    """The result of `make_avatar`.

    Attributes:
        out: the output folder.
        verdict: the judgement on the avatar in words.
        files: what was made -> path: avatar, report, turntable, glb, page, dataset, tracking, ...
        seconds: of each step.
    """

    out: Path
    verdict: Verdict
    files: Mapping[str, Path]
    seconds: Mapping[str, float]

    @property
    def avatar(self) -> Path:
        """The checkpoint, for `nha.load_avatar`."""
        return self.files["avatar"]

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.files["report"]


@dataclass(frozen=True)
class _Plan:
    """The settings of every step."""

    dataset: PreprocessOptions
    tracking: TrackingSettings
    training: OptimizationSettings
    evaluation: EvaluationSettings
    export: ExportSettings


def make_avatar(settings: MakeSettings) -> MadeAvatar:
    """Make an avatar of the person in a video, or continue a run that was interrupted.

    Raises:
        UserError: for an unusable video or setting, an output folder of another run, a missing package, or too little
            room; nothing is written then.
    """
    settings.check()
    out = settings.folder
    n_packets, video = count_packets(settings.video), video_info(settings.video)
    every = settings.stride(n_packets)
    n_frames = -(-n_packets // every)
    if n_frames < FEWEST_FRAMES:
        raise UserError(
            f"'{settings.video}' has {n_packets} frames, of which {n_frames} would be used; at least {FEWEST_FRAMES} "
            "are needed: take a longer video, or a smaller --every"
        )
    require_packages(settings)
    plan = _plan(settings, out, every, float(video.fps))
    expected = estimate(settings, plan.training, n_frames, (video.width, video.height))
    run = _describe_run(settings, float(video.fps))
    if settings.resume:
        _refuse_other_run(out, run)
    require_room(expected, out)
    which = "all frames are" if every == 1 else f"one frame in {every} is"
    print(
        f"{settings.video.name}: {n_packets} frames of {video.width} x {video.height}; {which} used "
        f"({n_frames}), at {settings.values.scale} pixels (--quality {settings.quality})"
    )
    print("\n".join(expected.lines()), flush=True)
    with own_folder(out):
        if not settings.resume:
            _remove_earlier_run(out)
        write_json(out / RUN_FILE, run)
        return _make(settings, plan, out, dict(expected.seconds))


def _make(settings: MakeSettings, plan: _Plan, out: Path, expected: dict[str, float]) -> MadeAvatar:
    """Run the steps that are not finished, then judge the avatar and write the report."""
    steps, history = Steps(out / STEPS_FILE), json_text(read_json_object(out / RUN_FILE), RUN_FILE)
    actions: dict[str, Callable[[], object]] = {
        "dataset": lambda: read_info(build_dataset(plan.dataset)).n_frames,
        "tracking": lambda: str(track_dataset(plan.tracking).path),
        "avatar": lambda: optimize_avatar(plan.training).stage_seconds,
        "evaluation": lambda: str(evaluate_avatar(plan.evaluation).report),
        "export": lambda: [str(path) for path in export_avatar(plan.export)[0]],
    }
    seconds: dict[str, float] = {}
    for name, part in zip(STEPS, list(expected), strict=True):
        outputs = [
            path for path in (*_files(out).values(), *map(out.joinpath, _DATA)) if path.parent.name == name
        ]
        record = steps.run(name, history, out / name, actions[name], replace=False, outputs=outputs)
        seconds[name] = record["seconds"]
        del expected[part]
        if expected:
            print(
                f"   {name}: {duration(seconds[name])}; about {duration(sum(expected.values()))} left",
                flush=True,
            )
    verdict = judge(collect_evidence(out / "dataset", out / "tracking", out / "evaluation" / "scores.json"))
    files = _files(out)
    write_make_report(files["report"], settings, verdict, files, seconds)
    text = "\n".join([*verdict.lines(), *_paths(files)])
    with atomic_path(out / TEXT_FILE) as temporary:
        temporary.write_text(printable(f"{text}\n", keep="\n"), encoding="utf-8")
    write_json(out / VERDICT_FILE, {**verdict.as_dict(), "seconds": seconds})
    print(f"\n{text}")
    return MadeAvatar(out, verdict, files, seconds)


def _plan(settings: MakeSettings, out: Path, every: int, fps: float) -> _Plan:
    quality, machine = settings.values, {"device": settings.device}
    dataset, tracking, avatar = out / "dataset", out / "tracking", out / "avatar"
    names = ("epochs_offset", "epochs_texture", "epochs_joint")
    epochs = {} if quality.epochs is None else dict(zip(names, quality.epochs, strict=True))
    files, video_fps = {"dataset": dataset, "tracking": tracking}, max(fps / every, SLOWEST_VIDEO_FPS)
    return _Plan(
        dataset=PreprocessOptions(
            video=settings.video,
            out_path=dataset,
            estimators=settings.estimators,
            scale=quality.scale,
            crop_to_head=settings.crop_to_head,
            rotate=settings.rotate,
            max_missing=settings.max_missing,
            every=every,
            **machine,
        ),
        tracking=TrackingSettings(
            data_path=dataset, output_path=tracking, head=settings.head, frame_rate=video_fps, **machine
        ),
        training=OptimizationSettings.from_ini(
            "blend",
            **files,
            out=avatar,
            head=settings.head,
            schedule_frames=quality.schedule_frames,
            **epochs,
            **machine,
        ),
        evaluation=EvaluationSettings.from_ini(
            avatar=[avatar],
            **files,
            out=out / "evaluation",
            turntable=quality.turntable,
            fps=video_fps,
            **machine,
        ),
        export=ExportSettings(
            ckpt=avatar,
            tracking=tracking,
            out=out / "export",
            formats=("glb", "html", "params"),
            texture_size=quality.texture_size,
            frame_rate=fps,
            **machine,
        ),
    )


# --- files ------------------------------------------------------------------------------------------------


def _files(out: Path) -> dict[str, Path]:
    """What a run makes, by a short name."""
    return {
        "avatar": out / "avatar" / "avatar.ckpt",
        "report": out / "report.html",
        "turntable": out / "evaluation" / "turntable.mp4",
        "glb": out / "export" / "avatar.glb",
        "page": out / "export" / "avatar.html",
        "comparison": out / "evaluation" / "comparison.mp4",
        "novel_views": out / "evaluation" / "novel_views.mp4",
        "scores": out / "evaluation" / "report.html",
        "annotations": out / "dataset" / "dataset.mp4",
        "tracking": out / "tracking" / "tracking.mp4",
    }


def _paths(files: Mapping[str, Path]) -> list[str]:
    width = max(map(len, files))
    return [f"{name:<{width}}  {path}" for name, path in files.items()]


def _describe_run(settings: MakeSettings, fps: float) -> dict[str, Any]:
    return {"settings": format_settings(settings), "video": describe_video(settings.video, fps)}


def _refuse_other_run(out: Path, run: Mapping[str, Any]) -> None:
    """Raise UserError where the folder holds a run of another video or with other settings."""
    earlier = read_json_object(out / RUN_FILE)
    if not earlier:
        return
    remedy = "choose another --out, or start again with --resume false"
    if {**earlier.get("video", {}), "name": ""} != {**run["video"], "name": ""}:
        raise UserError(f"'{out}' holds the avatar of another video; {remedy}")
    if differing := different_settings(earlier.get("settings", ""), run["settings"], _WITHOUT_INFLUENCE):
        raise UserError(f"'{out}' holds an avatar with other settings ({', '.join(differing[:4])}); {remedy}")


def _remove_earlier_run(out: Path) -> None:
    """Remove what the steps of an earlier run in the folder have written."""
    if read_json_object(out / RUN_FILE):
        for name in STEPS:
            remove_step(out / name)
        (out / STEPS_FILE).unlink(missing_ok=True)
