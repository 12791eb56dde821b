"""Evaluates avatars: scores, tables, videos and a report of one avatar, or of several side by side."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nha.avatar.base import HeadAvatar
from nha.avatar.checkpoint import checkpoint_file
from nha.avatar.matching import tracking_for_avatar
from nha.avatar.neutral_frame import neutral_frame
from nha.avatar.open import load_avatar
from nha.avatar.training_record import record_of, recorded_split, trained_on_dataset
from nha.core.device import pick_device
from nha.core.names import distinct_names
from nha.core.output_folder import own_folder, require_own
from nha.core.system import get_logger, require_writable
from nha.core.tables import Table
from nha.data.dataset_folder import DatasetFolder
from nha.data.frame_dataset import FrameSplits
from nha.data.settings import DataSettings
from nha.evaluation.avatar_evaluation import (
    AvatarOnDataset,
    EvaluatedAvatar,
    Evaluation,
    ViewVideo,
    evaluate_on_dataset,
)
from nha.evaluation.avatar_report import write_avatar_report
from nha.evaluation.novel_views import write_novel_views, write_turntable
from nha.evaluation.optional_metrics import OptionalMetrics, open_optional_metrics
from nha.evaluation.rendered_frames import PARTS, frames_of
from nha.evaluation.score_tables import OTHER_SPLIT, scores_table, silhouette_warnings
from nha.evaluation.scores import FrameScores, write_scores
from nha.evaluation.settings import EvaluationSettings
from nha.render.rasterize import raster_backend

PARTS_OF_SPLIT = {"train": ("train",), "val": ("held_out",), "all": PARTS}
SCORES_FILE, REPORT_FILE, COMPARISON_FILE = "scores.json", "report.html", "comparison.mp4"
NOVEL_VIEWS_FILE, TURNTABLE_FILE, VIEW_IMAGES = "novel_views.mp4", "turntable.mp4", "novel_views"

_logger = get_logger(__name__)


@dataclass(frozen=True)
class EvaluationResults:
    """The results of `evaluate_avatar`.

    Attributes:
        out: folder with scores, videos and report; several avatars have a subfolder each.
        report: the HTML report.
        avatars: the evaluated avatars, in the order of the checkpoints.
    """

    out: Path
    report: Path
    avatars: Sequence[EvaluatedAvatar]

    @property
    def scores(self) -> dict[str, list[FrameScores]]:
        """Scores of every frame, by the avatar's name."""
        return {one.name: one.evaluation.scores for one in self.avatars}

    @property
    def means(self) -> dict[str, dict[str, dict[str, float]]]:
        """Mean scores by the avatar's name, part of the split ("train", "held_out") and metric."""
        return {one.name: one.evaluation.means for one in self.avatars}

    def table(self) -> Table:
        """Return the mean scores as a table; `table().as_text()` is what the script prints."""
        return scores_table(self.scores, {one.name: one.subject.split_note for one in self.avatars})


def evaluate_avatar(settings: EvaluationSettings) -> EvaluationResults:
    """Evaluate one avatar, or several on the same dataset, and write scores, videos and a report.

    Raises:
        UserError: for settings, checkpoints and data that do not fit each other.
    """
    settings.check()
    names = distinct_names(settings.ckpt, "--avatar")
    device = pick_device(settings.device)
    subjects = _open_avatars(settings, names, device)
    out = require_own(settings.out or checkpoint_file(settings.ckpt[0]).parent / "evaluation")
    optional = open_optional_metrics(device)
    for metric, reason in optional.absent.items():
        _logger.info("%s is not computed: %s", metric, reason)

    with raster_backend(settings.raster_backend), own_folder(out):
        evaluated = [
            _evaluate_one(
                settings,
                subject,
                out if len(names) == 1 else require_writable(out / subject.name),
                optional,
            )
            for subject in subjects
        ]
        report = write_avatar_report(out / REPORT_FILE, evaluated, optional)
    results = EvaluationResults(out, report, evaluated)
    for warning in silhouette_warnings(results.scores):
        _logger.warning(warning)
    return results


def _open_avatars(
    settings: EvaluationSettings, names: Sequence[str], device: torch.device
) -> list[AvatarOnDataset]:
    """Open the checkpoints, each with its own tracking file if there are several."""
    tracking_files = [settings.data.tracking_results_path] * len(names)
    tracking_files[1:] = settings.further_tracking_results or tracking_files[1:]
    subjects = []
    for name, checkpoint, tracking in zip(names, settings.ckpt, tracking_files, strict=True):
        avatar = load_avatar(checkpoint, settings.head, device)
        data = _frames_for(avatar, dataclasses.replace(settings.data, tracking_results_path=tracking))
        note = split_note(record_of(avatar), data)
        subjects.append(AvatarOnDataset(name, checkpoint, avatar, data, note))
    return subjects


def _frames_for(avatar: HeadAvatar, data: DataSettings) -> FrameSplits:
    """The dataset with the avatar's own shape, and its own split where it was trained on this video."""
    record = record_of(avatar)
    own_split = None
    if trained_on_dataset(record, DatasetFolder.open(data.data_path)) is not False:
        own_split = recorded_split(record)
    return FrameSplits(
        data,
        lambda tracking: tracking_for_avatar(tracking, avatar.head, record, data.tracking_results_path),
        own_split,
    )


def split_note(record: Mapping[str, Any], data: FrameSplits) -> str:
    """A sentence where the split is not that of the training, or where that is unknown; "" otherwise."""
    trained = recorded_split(record)
    if trained is None:
        return (
            "the checkpoint does not record its split: whether held-out frames were held out in its training is unknown"
            if not record
            else ""
        )
    if trained_on_dataset(record, data.folder) is False:
        return "the avatar was trained on another video: no frame of this dataset was used in its training"
    seen = len(set(data.split.val) & set(trained.train))
    unseen = len(set(data.split.train) - set(trained.train))
    parts = [f"{seen} of {len(data.split.val)} held-out frames were used in the training"] if seen else []
    if unseen:
        parts.append(f"{unseen} of {len(data.split.train)} training frames were not")
    if not parts:
        return ""
    return f"{OTHER_SPLIT}: {', and '.join(parts)}; leave out --split_config for its own"


def _evaluate_one(
    settings: EvaluationSettings, subject: AvatarOnDataset, folder: Path, optional: OptionalMetrics
) -> EvaluatedAvatar:
    """Write scores and videos of one avatar into its folder."""
    parts = PARTS_OF_SPLIT[settings.split]
    evaluation = score_avatar(
        subject,
        folder,
        parts,
        optional,
        batch_size=settings.batch_size,
        frame_rate=settings.frame_rate,
    )
    views = []
    if settings.novel_views:
        views.append(_write_novel_views(settings, subject, parts, folder))
    if settings.turntable:
        views.append(_write_turntable(settings, subject, folder))
    return EvaluatedAvatar(subject, evaluation, views)


def score_avatar(
    subject: AvatarOnDataset,
    folder: Path,
    parts: Sequence[str],
    optional: OptionalMetrics,
    *,
    batch_size: int = 4,
    frame_rate: float = 25.0,
) -> Evaluation:
    """Score an avatar on parts of its split; writes scores.json and comparison.mp4 into a folder."""
    start = time.perf_counter()
    evaluation = evaluate_on_dataset(
        subject.avatar,
        subject.data,
        folder / COMPARISON_FILE,
        parts,
        optional=optional,
        batch_size=batch_size,
        frame_rate=frame_rate,
        label=f"evaluating {subject.name}",
    )
    seconds = time.perf_counter() - start
    _logger.info("%s: %d frames scored in %.0f s", subject.name, len(evaluation.scores), seconds)
    about = {
        "checkpoint": str(subject.checkpoint),
        "dataset": str(subject.data.settings.data_path),
        "metrics_by": dict(optional.by),
        "metrics_absent": dict(optional.absent),
        "split_note": subject.split_note,
    }
    write_scores(folder / SCORES_FILE, evaluation.scores, about)
    return evaluation


def _write_novel_views(
    settings: EvaluationSettings, subject: AvatarOnDataset, parts: Sequence[str], folder: Path
) -> ViewVideo:
    data, video = subject.data, folder / NOVEL_VIEWS_FILE
    frames = sorted({i for part in parts for i in frames_of(data, part).frame_ids})
    still = write_novel_views(
        video,
        subject.avatar,
        data.tracking,
        frames[-settings.novel_view_frames :],
        data.image_size,
        settings.novel_views,
        images=folder / VIEW_IMAGES if settings.images else None,
        frame_rate=settings.frame_rate,
    )
    angles = ", ".join(f"{azimuth:g}" for azimuth in settings.novel_views)
    return ViewVideo(f"Rotated by {angles} degrees from the tracked pose", still, video)


def _write_turntable(settings: EvaluationSettings, subject: AvatarOnDataset, folder: Path) -> ViewVideo:
    data, video = subject.data, folder / TURNTABLE_FILE
    frame = neutral_frame(data.tracking)
    still = write_turntable(
        video,
        subject.avatar,
        data.tracking,
        frame,
        data.image_size,
        settings.turntable,
        frame_rate=settings.frame_rate,
    )
    return ViewVideo(f"Turntable of frame {frame}", still, video)
