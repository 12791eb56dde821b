"""The report of an evaluation of one avatar, or of several side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nha.core.html_report import Section, write_report
from nha.evaluation.avatar_evaluation import AvatarOnDataset, EvaluatedAvatar
from nha.evaluation.comparison import representative_frames
from nha.evaluation.optional_metrics import OptionalMetrics
from nha.evaluation.rendered_frames import PARTS, render_frame
from nha.evaluation.score_tables import (
    explanations,
    missing_metrics,
    regions_table,
    score_charts,
    scores_table,
    silhouette_warnings,
)
from nha.evaluation.scores import FrameScores
from nha.evaluation.surface_errors import FULL_SCALE
from nha.visualization.colours import error_map, to_uint8
from nha.visualization.layout import side_by_side


def write_avatar_report(path: Path, evaluated: Sequence[EvaluatedAvatar], optional: OptionalMetrics) -> Path:
    """Write the HTML report of avatars that were evaluated on the same frames. Returns its path."""
    scores = {one.name: one.evaluation.scores for one in evaluated}
    subjects = [one.subject for one in evaluated]
    data, several = subjects[0].data, len(evaluated) > 1
    checkpoints = ", ".join(str(subject.checkpoint) for subject in subjects)
    sections = [
        Section(
            "Scores",
            f"{checkpoints} on {data.settings.data_path}. Means over frames. {_about_split(subjects)}",
            tables=[
                scores_table(scores, {one.name: one.split_note for one in subjects}),
                regions_table(scores),
            ],
            points=[*silhouette_warnings(scores), *missing_metrics(optional, data.image_size)],
        ),
        Section("Scores over time", "Held-out frames are tinted.", charts=score_charts(scores)),
    ]
    if several:
        images = representative_images(subjects, list(scores.values()))
        sections.append(
            Section("Representative frames", "Selected by the mean over the avatars.", images=images)
        )
    sections += [_avatar_section(one, one.name if several else "Images and videos") for one in evaluated]
    sections.append(Section("Explanation of the metrics", points=explanations(scores, optional)))
    return write_report(path, "Evaluation of avatars" if several else "Evaluation of an avatar", sections)


def _about_split(subjects: Sequence[AvatarOnDataset]) -> str:
    """What "held out" means in this report."""
    notes = [f"{one.name}: {one.split_note}." for one in subjects if one.split_note]
    return " ".join(notes) if notes else "Held-out frames are not used in training."


def _avatar_section(one: EvaluatedAvatar, title: str) -> Section:
    """Images and videos of one avatar."""
    evaluation = one.evaluation
    surface_caption = (
        "Mean difference over all frames, accumulated on the surface of the head: dark is no difference, yellow is "
        f"{FULL_SCALE:g} or more (of colours in 0..1), grey is not visible in any frame"
    )
    return Section(
        title,
        images=[
            *evaluation.representative,
            (surface_caption, side_by_side(evaluation.surface_errors, gap=4)),
            *((view.caption, view.still) for view in one.views),
        ],
        videos=[
            ("Ground truth, prediction, difference, normals and geometry of all frames", evaluation.video),
            *((view.caption, view.video) for view in one.views),
        ],
    )


def representative_images(
    subjects: Sequence[AvatarOnDataset], scores: Sequence[Sequence[FrameScores]]
) -> list[tuple[str, np.ndarray]]:
    """Captions and images of representative frames: ground truth, predictions and errors of all avatars."""
    mean_scores = [
        FrameScores(
            frames[0].frame_id,
            frames[0].part,
            {name: float(np.mean([f.scores[name] for f in frames])) for name in frames[0].scores},
        )
        for frames in zip(*scores, strict=True)
    ]
    return [
        (caption, _comparison_of_avatars(subjects, part, frame_id))
        for part in PARTS
        for frame_id, caption in representative_frames(mean_scores, part).items()
    ]


def _comparison_of_avatars(subjects: Sequence[AvatarOnDataset], part: str, frame_id: int) -> np.ndarray:
    rendered = [render_frame(subject.avatar, subject.data, part, frame_id) for subject in subjects]
    target = to_uint8(rendered[0].target[0])
    predictions = [to_uint8(frame.prediction[0]) for frame in rendered]
    names = [subject.name for subject in subjects]
    return side_by_side(
        [target, *predictions, *(error_map(prediction, target) for prediction in predictions)],
        [f"ground truth {frame_id}", *names, *(f"|difference| {name}" for name in names)],
    )
