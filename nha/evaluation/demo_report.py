"""Table and report of the demo: two synthetic subjects with errors against the ground truth, and a reenactment.

The result of a subject is its entry in `results.json`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nha.core.html_report import Section, write_report
from nha.core.tables import Table
from nha.data.video_io import iterate_frames
from nha.evaluation.avatar_evaluation import Evaluation
from nha.evaluation.score_tables import regions_table, score_charts, scores_table
from nha.visualization.layout import grid

N_STILLS = 5  # of the reenactment
# What `nha demo --annotations` takes -> what it means.
ANNOTATIONS = {
    "truth": "ground truth, from the renderer and without error (--annotations mediapipe estimates them from the "
    "images, as for a video of your own)",
    "mediapipe": "mediapipe, estimated from the images as for a video of your own",
}


def subject_section(result: dict, evaluation: Evaluation, tracking_video: Path) -> Section:
    """Return the section of the report about one subject."""
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
        images=evaluation.representative,
        videos=[
            ("Ground truth, prediction, difference, normals and geometry of all frames", evaluation.video),
            ("Tracking", tracking_video),
        ],
    )


def results_table(results: Sequence[dict]) -> Table:
    """Return the table that is printed at the end: one row for each quantity, one column for each subject."""
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
    rows = [("annotations", *(ANNOTATIONS[r["annotations"]].split(",")[0] for r in results))]
    rows += [(label, *(value(r) for r in results)) for label, value in quantities]
    for stage in results[0]["seconds"]:
        rows.append((f"seconds: {stage}", *(f"{r['seconds'][stage]:.0f}" for r in results)))
    return Table(("", *(r["name"].replace("_", " ") for r in results)), rows, digits=2)


def write_demo_report(
    out: Path, table: Table, sections: Sequence[Section], reenactment_video: Path, annotations: str = "truth"
) -> Path:
    """Write report.html with the table, the reenactment and a section for each subject. Returns its path."""
    overview = Section(
        "Results",
        "Two synthetic people, rendered by nha.synthetic. Landmarks, parsing, masks and normals: "
        f"{ANNOTATIONS[annotations]}. Tracking and avatars use only the video and these annotations.",
        tables=[table],
    )
    images = list(iterate_frames(reenactment_video))
    picked = [images[i] for i in np.linspace(0, len(images) - 1, N_STILLS).round().astype(int)]
    reenactment = Section(
        "Reenactment",
        images=[("Driving and reenacted, from start to end", grid([picked]))],
        videos=[("All frames", reenactment_video)],
    )
    return write_report(out / "report.html", "Neural head avatars: demo", [overview, reenactment, *sections])
