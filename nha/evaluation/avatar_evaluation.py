"""Evaluates one avatar on one dataset: scores, comparison video, representative frames, errors on the surface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nha.avatar.base import HeadAvatar
from nha.avatar.neutral_frame import neutral_frame
from nha.data.frame_dataset import FrameSplits
from nha.data.video_io import VideoWriter
from nha.evaluation.comparison import comparison_images, representative_frames
from nha.evaluation.novel_views import orbit_views
from nha.evaluation.optional_metrics import OptionalMetrics
from nha.evaluation.rendered_frames import PARTS, render_dataset, render_frame
from nha.evaluation.scores import FrameScores, means, score_frames
from nha.evaluation.surface_errors import SurfaceErrors, render_surface_errors

SURFACE_ERROR_AZIMUTHS_DEG = (-50.0, 0.0, 50.0)


@dataclass(frozen=True)
class AvatarOnDataset:
    """An avatar and the dataset that it is evaluated on.

    Attributes:
        name: in tables, and of its folder when several avatars are compared.
        checkpoint: its file.
        avatar: the opened avatar.
        data: the dataset with its split.
        split_note: a sentence where this split is not that of the training, else "".
    """

    name: str
    checkpoint: Path
    avatar: HeadAvatar
    data: FrameSplits
    split_note: str = ""


@dataclass(frozen=True)
class Evaluation:
    """The evaluation of one avatar on one dataset.

    Attributes:
        scores: of every frame.
        representative: captions and images (see `comparison.COLUMNS`) of representative frames.
        video: the comparison of all frames.
        surface_errors: the mean error on the head's surface, uint8 [H, W, 3] for each of
            `SURFACE_ERROR_AZIMUTHS_DEG`.
    """

    scores: list[FrameScores]
    representative: list[tuple[str, np.ndarray]]
    video: Path
    surface_errors: list[np.ndarray]

    @property
    def means(self) -> dict[str, dict[str, float]]:
        """Mean scores by part and metric."""
        return means(self.scores)


def evaluate_on_dataset(
    avatar: HeadAvatar,
    data: FrameSplits,
    video: Path,
    parts: Sequence[str] = PARTS,
    *,
    optional: OptionalMetrics | None = None,
    batch_size: int = 4,
    frame_rate: float = 25.0,
    label: str = "evaluating",
) -> Evaluation:
    """Score an avatar on the frames of a dataset and write the comparison video.

    Args:
        avatar: the avatar.
        data: the dataset with its split.
        video: file of the comparison video.
        parts: parts of the split, names in `rendered_frames.PARTS`.
        optional: metrics besides those that are always computed.
        batch_size: frames rendered at the same time.
        frame_rate: of the video, frames per second.
        label: text of the progress line.
    """
    faces = avatar.head.faces
    scores: list[FrameScores] = []
    errors = SurfaceErrors(avatar)
    with VideoWriter(video, frame_rate) as writer:
        for part, rendered in render_dataset(avatar, data, parts, batch_size=batch_size, label=label):
            scores += score_frames(part, rendered, optional)
            errors.add(rendered)
            for image in comparison_images(part, rendered, faces):
                writer.write(image)
    representative = [
        (caption, comparison_images(part, render_frame(avatar, data, part, frame_id), faces)[0])
        for part in parts
        for frame_id, caption in representative_frames(scores, part).items()
    ]
    params, camera = orbit_views(
        avatar, data.tracking, neutral_frame(data.tracking), data.image_size, SURFACE_ERROR_AZIMUTHS_DEG
    )
    images = render_surface_errors(avatar, errors.mean(), params, camera)
    return Evaluation(scores, representative, video, images)


@dataclass(frozen=True)
class ViewVideo:
    """A video from new directions, to which no true images exist.

    Attributes:
        caption: what it shows.
        still: an image of it, uint8 [H, W, 3].
        video: the file.
    """

    caption: str
    still: np.ndarray
    video: Path


@dataclass(frozen=True)
class EvaluatedAvatar:
    """An avatar with everything that the report shows of it.

    Attributes:
        subject: the avatar and its dataset.
        evaluation: scores, comparison video and images.
        views: videos from new directions.
    """

    subject: AvatarOnDataset
    evaluation: Evaluation
    views: Sequence[ViewVideo] = ()

    @property
    def name(self) -> str:
        """The avatar's name in tables."""
        return self.subject.name
