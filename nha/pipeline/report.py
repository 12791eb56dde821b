"""The report of `nha make`: the verdict, images, videos, files and times."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nha.core.html_report import Section, write_report
from nha.core.progress import duration
from nha.core.tables import Table
from nha.data.video_io import iterate_frames
from nha.evaluation.comparison import representative_frames
from nha.evaluation.evidence import read_scores
from nha.evaluation.rendered_frames import PARTS
from nha.evaluation.verdict import Verdict
from nha.pipeline.settings import MakeSettings
from nha.visualization.layout import grid

_N_TURNTABLE_STILLS = 6
_MOST_IMAGES = 6
_DESCRIPTIONS = {
    "page": "the avatar in the browser, with sliders (one file, no network)",
    "glb": "for Blender and game engines",
    "avatar": "checkpoint, for nha view, nha reenact and nha export",
    "scores": "report of the evaluation, with all scores",
}


def write_make_report(
    path: Path,
    settings: MakeSettings,
    verdict: Verdict,
    files: Mapping[str, Path],
    seconds: Mapping[str, float],
) -> Path:
    """Write the report. Returns its path.

    Args:
        path: the HTML file.
        settings: of the run.
        verdict: on the avatar.
        files: paths by the names of `MadeAvatar.files`.
        seconds: of the steps.
    """
    scores = read_scores(files["comparison"].with_name("scores.json"))
    captions = {
        frame_id: text
        for part in PARTS[::-1]
        for frame_id, text in representative_frames(scores, part).items()
    }
    shown = list(captions)[:_MOST_IMAGES]
    rows = {number: frame.frame_id for number, frame in enumerate(scores) if frame.frame_id in shown}
    sections = [
        Section("Verdict", verdict.summary, tables=[verdict_table(verdict)]),
        Section("What to do", "" if verdict.advice() else "Nothing.", points=verdict.advice()),
        Section("Frames that hurt", verdict.about_frames()),
        Section(
            "Turntable",
            "What the video does not show, such as the back of the head, is invented.",
            images=[("Once around the head", _turntable_stills(files["turntable"]))],
            videos=[("Rendering, normals and geometry", files["turntable"])],
        ),
        Section(
            "Beside the video",
            "Ground truth, rendering, difference, normals and geometry. Held-out frames were not trained on.",
            images=[(captions[rows[number]], image) for number, image in _picked(files["comparison"], rows)],
            videos=[
                ("All frames", files["comparison"]),
                ("Turned heads", files["novel_views"]),
                ("Tracking", files["tracking"]),
                ("Annotations", files["annotations"]),
            ],
        ),
        Section("Files", links=[(text, files[name]) for name, text in _DESCRIPTIONS.items()]),
        Section(
            "Steps",
            f"Video: {settings.video.name}; quality {settings.quality}.",
            tables=[Table(("step", "time"), [(name, duration(s)) for name, s in seconds.items()])],
        ),
    ]
    return write_report(path, f"Avatar of {settings.video.name}", sections)


def verdict_table(verdict: Verdict) -> Table:
    """The judgements as a table."""
    rows = [(one.question, one.level, one.answer, one.figure, one.thresholds) for one in verdict.judgements]
    return Table(("question", "verdict", "in words", "figure", "thresholds"), rows, is_text=True)


def _picked(video: Path, numbers: Mapping[int, int]) -> list[tuple[int, np.ndarray]]:
    """Frames of a video by their numbers."""
    return [(number, image) for number, image in enumerate(iterate_frames(video)) if number in numbers]


def _turntable_stills(video: Path) -> np.ndarray:
    """Renderings of a turntable video beside each other; its frames hold three images."""
    frames = list(iterate_frames(video))
    picked = np.linspace(0, len(frames), _N_TURNTABLE_STILLS, endpoint=False).astype(int)
    return grid([[frames[i][:, : frames[i].shape[1] // 3] for i in picked]])
