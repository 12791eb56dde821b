"""The demo's table and report: two synthetic subjects, measured against the truth, and one moved by the other.

A subject's result is what `results.json` holds of it: see `python_scripts/run_demo.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nha.core.html_report import Section, write_report
from nha.core.tables import Table
from nha.data.video_io import iterate_frames
from nha.evaluation.avatar_report import regions_table, score_charts, scores_table
from nha.evaluation.judge import Evaluation
from nha.visualization.layout import grid

N_FILM_PICTURES = 5


def subject_section(result: dict, evaluation: Evaluation, tracking_film: Path) -> Section:
    """The report's part about one subject."""
    names = ("mean", "median", "p95", "max")
    rows = [
        (f"{kind}: {error}", *(values[name] for name in names))
        for kind, errors in (("tracking", result["tracking"]), ("avatar", result["avatar"]))
        for error, values in errors.items()
    ]
    scores = {result["name"]: evaluation.scores}
    return Section(
        title=result["name"].replace("_", " "),
        tables=[
            scores_table(scores),
            regions_table(scores),
            Table(("error against the truth", *names), rows),
        ],
        charts=score_charts(scores),
        images=evaluation.telling,
        videos=[
            ("Ground truth, prediction, difference, normals and geometry of all frames", evaluation.film),
            ("Tracking", tracking_film),
        ],
    )


def results_table(results: Sequence[dict]) -> Table:
    """What is printed at the end: a row a quantity, a column a subject."""
    quantities = (
        ("rotation error, degrees", lambda r: r["rotation_deg"]),
        ("translation error, mm", lambda r: r["translation_mm"]),
        (
            "   ... of the head scaled to its true size",
            lambda r: r["tracking"]["translation_scaled_mm"]["mean"],
        ),
        ("landmark error, px", lambda r: r["landmark_px"]),
        ("vertex error of the face, mm", lambda r: r["vertex_mm"]),
        ("   ... of the head scaled to its true size", lambda r: r["tracking"]["vertex_scaled_mm"]["mean"]),
        ("held-out PSNR inside the head mask, dB", lambda r: r["psnr"]),
        ("   ... where the avatar covers it", lambda r: r["psnr_covered"]),
        ("held-out SSIM inside the head mask", lambda r: r["ssim"]),
        ("held-out IoU of the silhouettes", lambda r: r["silhouette_iou"]),
    )
    rows = [("annotations", *(f"{r['annotations']} pack" for r in results))]
    rows += [(label, *(value(r) for r in results)) for label, value in quantities]
    for stage in results[0]["seconds"]:
        rows.append((f"seconds: {stage}", *(f"{r['seconds'][stage]:.0f}" for r in results)))
    return Table(("", *(r["name"].replace("_", " ") for r in results)), rows, digits=2)


def write_demo_report(out: Path, table: Table, sections: Sequence[Section], reenactment_video: Path) -> Path:
    """report.html with the table, the reenactment and each subject."""
    overview = Section(
        "Results",
        "Two invented people, drawn by nha.synthetic. Landmarks, parsing, masks and normals are the truth (truth "
        "pack), not estimates from pictures. Tracking and avatars see the video and these annotations only.",
        tables=[table],
    )
    frames = list(iterate_frames(reenactment_video))
    picked = [frames[i] for i in np.linspace(0, len(frames) - 1, N_FILM_PICTURES).round().astype(int)]
    reenactment = Section(
        "Reenactment",
        images=[("Driving and reenacted, from start to end", grid([picked]))],
        videos=[("All frames", reenactment_video)],
    )
    return write_report(out / "report.html", "Neural head avatars: demo", [overview, reenactment, *sections])
