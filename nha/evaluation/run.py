"""The job of `evaluate_avatar.py`: scores, tables, films and a report of one avatar, or of several side by side."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

from nha.avatar.neutral_frame import neutral_frame
from nha.avatar.open import open_avatar
from nha.core.device import pick_device
from nha.core.names import distinct_names
from nha.core.system import get_logger, require_writable
from nha.data.frame_dataset import FrameSplits
from nha.evaluation.avatar_report import Judged, View, doubts, scores_table, write_avatar_report
from nha.evaluation.evaluator import PARTS, frames_of, write_scores
from nha.evaluation.judge import Contestant, evaluate_and_film
from nha.evaluation.novel_views import write_novel_views, write_turntable
from nha.evaluation.optional_metrics import OptionalMetrics, open_optional_metrics
from nha.evaluation.settings import EvaluationSettings

PARTS_OF_SPLIT = {"train": ("train",), "val": ("held_out",), "all": PARTS}
SCORES_FILE, REPORT_FILE, FILM_FILE = "scores.json", "report.html", "comparison.mp4"
NOVEL_VIEWS_FILE, TURNTABLE_FILE, VIEW_IMAGES = "novel_views.mp4", "turntable.mp4", "novel_views"

_logger = get_logger(__name__)


def evaluate_avatar(settings: EvaluationSettings) -> tuple[Path, str]:
    """Evaluate avatars; returns the output folder, with scores, films and report in it, and the table as text.

    Of several avatars each has a folder of its own in it. Raises UserError for settings, checkpoints and data that
    do not fit each other.
    """
    settings.check()
    names = distinct_names(settings.ckpt, "--ckpt")
    out = require_writable(settings.out or settings.ckpt[0].parent / "evaluation")
    device = pick_device(settings.device)
    tracking_files = [settings.data.tracking_results_path] * len(names)
    tracking_files[1:] = settings.further_tracking_results or tracking_files[1:]
    contestants = []
    for name, checkpoint, tracking in zip(names, settings.ckpt, tracking_files, strict=True):
        data = FrameSplits(dataclasses.replace(settings.data, tracking_results_path=tracking))
        avatar = open_avatar(checkpoint, settings.head, device)
        contestants.append(Contestant(name, checkpoint, avatar, data))
    optional = open_optional_metrics(device)
    for metric, reason in optional.absent.items():
        _logger.info("%s is not computed: %s", metric, reason)

    judged = []
    for contestant in contestants:
        folder = out if len(names) == 1 else require_writable(out / contestant.name)
        judged.append(_evaluate_one(settings, contestant, folder, optional))
    scores = {one.contestant.name: one.evaluation.scores for one in judged}
    for doubt in doubts(scores):
        _logger.warning(doubt)
    write_avatar_report(out / REPORT_FILE, judged, optional, settings.raster_backend)
    return out, scores_table(scores).as_text()


def _evaluate_one(
    settings: EvaluationSettings, contestant: Contestant, folder: Path, optional: OptionalMetrics
) -> Judged:
    """Scores and films of one avatar in its folder."""
    parts = PARTS_OF_SPLIT[settings.split]
    look = {"frame_rate": settings.frame_rate, "backend": settings.raster_backend}
    start = time.perf_counter()
    evaluation = evaluate_and_film(
        contestant.avatar,
        contestant.data,
        folder / FILM_FILE,
        parts,
        optional=optional,
        batch_size=settings.batch_size,
        name=f"evaluating {contestant.name}",
        **look,
    )
    seconds = time.perf_counter() - start
    _logger.info("%s: %d frames scored in %.0f s", contestant.name, len(evaluation.scores), seconds)
    about = {
        "checkpoint": str(contestant.checkpoint),
        "dataset": str(settings.data.data_path),
        "metrics_by": dict(optional.by),
        "metrics_absent": dict(optional.absent),
    }
    write_scores(folder / SCORES_FILE, evaluation.scores, about)
    views = []
    if settings.novel_views:
        frames = sorted({i for part in parts for i in frames_of(contestant.data, part).frame_ids})
        frames = frames[-settings.novel_view_frames :]
        views.append(_novel_views(settings, contestant, frames, folder, look))
    if settings.turntable:
        views.append(_turntable(settings, contestant, folder, look))
    return Judged(contestant, evaluation, views)


def _novel_views(
    settings: EvaluationSettings, contestant: Contestant, frames: list[int], folder: Path, look: dict
) -> View:
    data, film = contestant.data, folder / NOVEL_VIEWS_FILE
    images = folder / VIEW_IMAGES if settings.images else None
    azimuths = settings.novel_views
    still = write_novel_views(
        film, contestant.avatar, data.tracking, frames, data.image_size, azimuths, images=images, **look
    )
    angles = ", ".join(f"{azimuth:g}" for azimuth in azimuths)
    return View(f"Turned by {angles} degrees from the tracked pose", still, film)


def _turntable(settings: EvaluationSettings, contestant: Contestant, folder: Path, look: dict) -> View:
    data, film = contestant.data, folder / TURNTABLE_FILE
    frame = neutral_frame(data.tracking)
    still = write_turntable(
        film, contestant.avatar, data.tracking, frame, data.image_size, settings.turntable, **look
    )
    return View(f"Once around the head of frame {frame}", still, film)
