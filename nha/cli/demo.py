"""The demo: the whole pipeline on two synthetic people, then a table and a report."""

from __future__ import annotations

import time
from pathlib import Path

from nha.avatar.open import load_avatar
from nha.cli.demo_subject import (
    HEAD,
    SubjectPaths,
    files_of_earlier_versions,
    make_avatar,
    optimization_settings,
    second_subject_in_parallel,
)
from nha.cli.settings import DemoSettings
from nha.core.html_report import Section
from nha.core.json_file import read_json_object, undefined_as_null, write_json
from nha.core.output_folder import own_folder
from nha.core.paths import config_file
from nha.data.frame_dataset import FrameSplits
from nha.data.tracking_file import read_tracking
from nha.evaluation.avatar_evaluation import evaluate_on_dataset
from nha.evaluation.demo_report import ANNOTATIONS, results_table, subject_section, write_demo_report
from nha.evaluation.tracking_errors import avatar_errors, summarise, tracking_errors
from nha.evaluation.truth import read_truth
from nha.head.assets import HeadAssets
from nha.head.load import load_head
from nha.pipeline.steps import Steps
from nha.reenactment.files import ReenactmentFiles
from nha.reenactment.run import reenact_avatar
from nha.reenactment.settings import ReenactmentSettings


def run_demo(settings: DemoSettings) -> None:
    """Run all steps that are not finished yet, and print the results and their files."""
    subjects = [SubjectPaths(settings.out / f"subject_{seed}") for seed in settings.seeds]
    with (
        own_folder(settings.out, of_earlier_version=_files_of_earlier_versions),
        own_folder(subjects[0].root, of_earlier_version=files_of_earlier_versions),
    ):
        _run_steps(settings, subjects)


def _run_steps(settings: DemoSettings, subjects: list[SubjectPaths]) -> None:
    out, start, assets = settings.out, time.perf_counter(), load_head(HEAD)
    with second_subject_in_parallel(settings, subjects[1]):
        seconds = [make_avatar(settings.seeds[0], subjects[0], settings, assets)]
    results, sections = [], []
    with own_folder(subjects[1].root, of_earlier_version=files_of_earlier_versions):
        seconds.append(make_avatar(settings.seeds[1], subjects[1], settings, assets))
        for i, paths in enumerate(subjects):
            result, section = evaluate_subject(settings.seeds[i], paths, settings, assets, seconds[i])
            results.append(result)
            sections.append(section)
    videos = reenact_subjects(*subjects, out)

    table = results_table(results)
    report = write_demo_report(out, table, sections, videos.side_by_side, settings.annotations)
    content = {
        "settings": describe(settings),
        "subjects": results,
        "reenactment": read_json_object(videos.motion),
    }
    write_json(out / "results.json", undefined_as_null(content))  # a region may be visible in no frame
    print(f"\n{table.as_text()}\n")
    print(f"annotations: {ANNOTATIONS[settings.annotations]}")
    print(f"all scores are in results.json and in the report; {time.perf_counter() - start:.0f} s in total")
    for path in (out / "results.json", report, videos.side_by_side):
        print(path)


def _files_of_earlier_versions(out: Path) -> list[str]:
    """The files of a demo whose version of this program kept no manifest; empty for a folder from elsewhere."""
    if not (own := [path for path in out.glob("subject_*/steps.json") if read_json_object(path)]):
        return []
    names = ("results.json", "report.html", "steps.json")
    return [name for name in names if (out / name).is_file()] or [own[0].relative_to(out).as_posix()]


# --- evaluation -----------------------------------------------------------------------------------------


def evaluate_subject(
    seed: int, paths: SubjectPaths, settings: DemoSettings, assets: HeadAssets, seconds: dict[str, float]
) -> tuple[dict, Section]:
    """Compare tracking and mesh with the ground truth, and images with the video: results and report section."""
    start = time.perf_counter()
    tracking, truth = read_tracking(paths.tracking), read_truth(paths.truth)
    errors = summarise(tracking_errors(assets, tracking, truth))
    data = FrameSplits(optimization_settings(paths, settings).data)
    avatar = load_avatar(paths.avatar / "avatar.ckpt", HEAD)
    evaluation = evaluate_on_dataset(avatar, data, paths.comparison)
    fitted = summarise(avatar_errors(assets, avatar, tracking, data.split.frame_ids(), truth))
    held_out = evaluation.means["held_out"]
    result = {
        "name": paths.root.name,
        "seed": seed,
        "annotations": settings.annotations,
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
    """Animate the first subject's avatar with the second subject's motion."""
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
    """The settings as JSON values."""
    return {
        "frames": settings.frames,
        "size": settings.size,
        "seeds": list(settings.seeds),
        "quick": settings.quick,
        "annotations": settings.annotations,
        "optimization": config_file(settings.training).name,
    }
