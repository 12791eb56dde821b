"""Judging one avatar on one dataset: scores, film, the frames to look at, the error on the surface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nha.avatar.avatar import NeuralHeadAvatar
from nha.avatar.neutral_frame import neutral_frame
from nha.data.frame_dataset import FrameSplits
from nha.evaluation.comparison import ComparisonFilm, comparison_strips, draw_one, telling_frames
from nha.evaluation.evaluator import PARTS, DrawnFrames, FrameScores, evaluate, means
from nha.evaluation.novel_views import turned_views
from nha.evaluation.optional_metrics import OptionalMetrics
from nha.evaluation.surface_errors import SurfaceErrors, error_picture

ERROR_AZIMUTHS_DEG = (-50.0, 0.0, 50.0)


@dataclass(frozen=True)
class Contestant:
    """An avatar and the frames that it is judged on; name: in tables and of its folder."""

    name: str
    checkpoint: Path
    avatar: NeuralHeadAvatar
    data: FrameSplits


@dataclass(frozen=True)
class Evaluation:
    """scores of every frame; telling: pictures of the frames to look at with their captions; film: the comparison of
    all frames; on_surface: the mean error on the head, uint8 [H, W, 3] from each of ERROR_AZIMUTHS_DEG.
    """

    scores: list[FrameScores]
    telling: list[tuple[str, np.ndarray]]
    film: Path
    on_surface: list[np.ndarray]

    @property
    def means(self) -> dict[str, dict[str, float]]:
        return means(self.scores)


def evaluate_and_film(
    avatar: NeuralHeadAvatar,
    data: FrameSplits,
    film: Path,
    parts: Sequence[str] = PARTS,
    *,
    optional: OptionalMetrics | None = None,
    batch_size: int = 4,
    frame_rate: float = 25.0,
    backend: str = "auto",
    name: str = "evaluating",
) -> Evaluation:
    """Score the frames of the named parts, and write the film ground truth | prediction | ... of them."""
    errors = SurfaceErrors(avatar)
    with ComparisonFilm(film, avatar, frame_rate, backend) as comparison:

        def also(part: str, drawn: DrawnFrames) -> None:
            comparison.add(part, drawn)
            errors.add(part, drawn)

        scores = evaluate(
            avatar,
            data,
            parts,
            batch_size=batch_size,
            backend=backend,
            optional=optional,
            also=also,
            name=name,
        )
    telling = []
    for part in parts:
        for frame_id, caption in telling_frames(scores, part).items():
            drawn = draw_one(avatar, data, part, frame_id, backend)
            telling.append((caption, comparison_strips(avatar, part, drawn, backend)[0]))
    params, camera = turned_views(
        avatar, data.tracking, neutral_frame(data.tracking), data.image_size, ERROR_AZIMUTHS_DEG
    )
    return Evaluation(scores, telling, film, error_picture(avatar, errors.mean(), params, camera, backend))
