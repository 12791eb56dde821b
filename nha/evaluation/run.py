"""The job of `evaluate_avatar.py`: scores, table, film and report of one avatar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from nha.avatar.avatar import NeuralHeadAvatar
from nha.avatar.open import open_avatar
from nha.core.config import nested, setting
from nha.core.errors import UserError
from nha.core.system import pick_device, require_writable
from nha.data.datamodule import FrameDataModule
from nha.data.settings import DataSettings
from nha.evaluation.comparison import ComparisonFilm, telling_frames
from nha.evaluation.evaluator import PARTS, FrameScores, evaluate, means, write_scores
from nha.evaluation.metrics import MS_SSIM_SMALLEST_PX
from nha.evaluation.report import Section, write_report
from nha.evaluation.tables import Table

PARTS_OF_SPLIT = {"train": ("train",), "val": ("held_out",), "all": PARTS}
METRICS = (
    "l1",
    "l2",
    "psnr",
    "ssim",
    "ms_ssim",
    "head_l1",
    "head_l2",
    "head_psnr",
    "head_ssim",
    "covered_psnr",
    "silhouette_iou",
)
SCORES_FILE, REPORT_FILE, FILM_FILE = "scores.json", "report.html", "comparison.mp4"


@dataclass(frozen=True)
class EvaluationSettings:
    """Settings of `evaluate_avatar.py`."""

    ckpt: Path = setting(
        section="What is evaluated",
        help="Checkpoint of the avatar, ours or published.",
        aliases=("checkpoint_file",),
    )
    split: Literal["train", "val", "all"] = setting("all", help="Which part of the split.")
    out: Path | None = setting(
        None,
        help="Output folder; none is the folder 'evaluation' beside the checkpoint.",
        aliases=("out_path",),
    )
    head: str | None = setting(None, help="Head model; none takes the one that the avatar was trained with.")
    batch_size: int = setting(4, help="Frames that are drawn at the same time.")
    frame_rate: float = setting(25.0, help="Frames per second of the film.", aliases=("fps",))
    device: str = setting("auto", help="auto, cpu or cuda.")
    raster_backend: str = setting(
        "auto", help="Rasteriser: auto, numba, triton, reference or pytorch3d.", aliases=("backend",)
    )
    data: DataSettings = nested(DataSettings)

    IGNORED = DataSettings.IGNORED


@dataclass(frozen=True)
class Evaluation:
    """scores of every frame; pictures: the comparison of each frame by id, uint8 [H, W, 3]; film: as mp4."""

    scores: list[FrameScores]
    pictures: dict[int, np.ndarray]
    film: Path

    @property
    def means(self) -> dict[str, dict[str, float]]:
        return means(self.scores)


def evaluate_and_film(
    avatar: NeuralHeadAvatar,
    data: FrameDataModule,
    film: Path,
    parts: Sequence[str] = PARTS,
    *,
    batch_size: int = 4,
    frame_rate: float = 25.0,
    backend: str = "auto",
) -> Evaluation:
    """Score the frames of the named parts, and write the film ground truth | prediction | ... of them."""
    with ComparisonFilm(film, avatar, frame_rate, backend) as comparison:
        scores = evaluate(avatar, data, parts, batch_size=batch_size, backend=backend, also=comparison.add)
    return Evaluation(scores, comparison.rows, film)


def evaluate_avatar(settings: EvaluationSettings) -> tuple[Path, str]:
    """Evaluate an avatar; returns the output folder, with scores, film and report in it, and the table as text.

    Raises UserError for settings, checkpoint and data that do not fit each other.
    """
    if settings.batch_size < 1:
        raise UserError("--batch_size must be at least 1")
    out = require_writable(settings.out or settings.ckpt.parent / "evaluation")
    data = FrameDataModule(settings.data)
    avatar = open_avatar(settings.ckpt, settings.head, pick_device(settings.device))
    result = evaluate_and_film(
        avatar,
        data,
        out / FILM_FILE,
        PARTS_OF_SPLIT[settings.split],
        batch_size=settings.batch_size,
        frame_rate=settings.frame_rate,
        backend=settings.raster_backend,
    )
    about = {"checkpoint": str(settings.ckpt), "dataset": str(settings.data.data_path)}
    write_scores(out / SCORES_FILE, result.scores, about)
    table = scores_table(result)
    section = Section(
        "Scores",
        f"{settings.ckpt} on {settings.data.data_path}",
        tables=[table],
        pictures=telling_pictures(result),
        videos=[("All evaluated frames", result.film)],
    )
    write_report(out / REPORT_FILE, "Evaluation of an avatar", [section])
    return out, table.as_text()


def scores_table(result: Evaluation) -> Table:
    """Mean scores: a row for each metric, a column for each part."""
    columns = result.means
    counts = {part: sum(score.part == part for score in result.scores) for part in columns}
    header = ("mean over frames", *(f"{part.replace('_', '-')} ({n})" for part, n in counts.items()))
    return Table(
        header, [(name, *(columns[part].get(name) for part in columns)) for name in METRICS], digits=4
    )


def telling_pictures(result: Evaluation) -> list[tuple[str, np.ndarray]]:
    """Worst, median and best frame of each part with their captions."""
    return [
        (caption, result.pictures[frame_id])
        for part in PARTS
        for frame_id, caption in telling_frames(result.scores, part).items()
    ]


def missing_metrics_note() -> str:
    """Which metrics of the method are not computed, and why."""
    return (
        f"ms_ssim needs pictures of at least {MS_SSIM_SMALLEST_PX} pixels; LPIPS is left out, as its weights are not "
        "part of any installed package"
    )
