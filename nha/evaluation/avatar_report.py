"""The report of `evaluate_avatar.py`: tables, curves, the frames to look at, films; of several avatars side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nha.core.html_report import Section, write_report
from nha.core.tables import Table
from nha.evaluation.comparison import draw_one, telling_frames
from nha.evaluation.evaluator import PARTS, FrameScores, means
from nha.evaluation.judge import Contestant, Evaluation
from nha.evaluation.metrics import MS_SSIM_SMALLEST_PX
from nha.evaluation.optional_metrics import OptionalMetrics
from nha.evaluation.regions import REGIONS
from nha.evaluation.surface_errors import FULL_SCALE
from nha.visualization.colours import error_map, to_uint8
from nha.visualization.curves import Curve, curve_chart
from nha.visualization.layout import side_by_side

# In the order of the table; what each is, for people who have not read the paper.
METRICS: dict[str, str] = {
    "l1": "mean absolute difference of the whole picture on white, colours in 0..1; lower is better",
    "l2": "mean squared difference of the whole picture; lower is better",
    "psnr": "peak signal-to-noise ratio of the whole picture in dB; higher is better, and the white background helps",
    "ssim": "structural similarity of the whole picture, up to 1; higher is better",
    "ms_ssim": "structural similarity at five scales, up to 1; higher is better",
    "lpips": "learned perceptual distance (AlexNet); lower is better",
    "landmark_px": "mean distance of 68 landmarks that a face detector finds in both pictures; lower is better",
    "cpbd": "sharpness of the prediction, 0 (blurred) to 1 (sharp)",
    "true_cpbd": "sharpness of the true picture, for comparison",
    "head_l1": "as l1, inside the head mask only",
    "head_l2": "as l2, inside the head mask only",
    "head_psnr": "as psnr, inside the head mask only: the number to look at first",
    "head_ssim": "as ssim, inside the head mask only",
    "covered_psnr": "as head_psnr where the avatar draws anything: leaves the silhouette's errors out",
    "silhouette_iou": "overlap of drawn and true silhouette, up to 1; higher is better",
}
# Metrics that are shown as charts, and the charts' titles.
CURVES: dict[str, str] = {
    "head_psnr": "head_psnr, dB (higher is better)",
    "head_ssim": "head_ssim (higher is better)",
    "face_psnr": "face_psnr, dB (higher is better)",
    "mouth_psnr": "mouth_psnr, dB (higher is better)",
    "eyes_psnr": "eyes_psnr, dB (higher is better)",
    "hair_psnr": "hair_psnr, dB (higher is better)",
    "silhouette_iou": "silhouette_iou (higher is better)",
    "landmark_px": "landmark_px, pixels (lower is better)",
    "lpips": "lpips (lower is better)",
}
SMALLEST_OVERLAP = 0.8  # mean intersection over union of the silhouettes; trained avatars have 0.93 and more


@dataclass(frozen=True)
class View:
    """A film, and pictures of it, that no true picture belongs to."""

    caption: str
    still: np.ndarray
    film: Path


@dataclass(frozen=True)
class Judged:
    """An avatar with everything that the report shows of it."""

    contestant: Contestant
    evaluation: Evaluation
    views: Sequence[View]


def write_avatar_report(
    path: Path, judged: Sequence[Judged], optional: OptionalMetrics, backend: str = "auto"
) -> Path:
    """Write the report on one avatar, or on several that were judged on the same frames."""
    scores = {one.contestant.name: one.evaluation.scores for one in judged}
    first = judged[0].contestant
    sections = [
        Section(
            "Scores",
            f"{', '.join(str(one.contestant.checkpoint) for one in judged)} on {first.data.settings.data_path}. "
            "Means over frames; held-out frames were not trained on.",
            tables=[scores_table(scores), regions_table(scores)],
            points=[*doubts(scores), *not_computed(optional, first.data.image_size)],
        ),
        Section(
            "Over time",
            "Held-out stretches of the video are tinted.",
            charts=score_charts(scores),
        ),
    ]
    if len(judged) > 1:
        sections.append(
            Section(
                "Frame by frame",
                "Chosen by the mean over the avatars.",
                images=comparison_pictures(
                    [one.contestant for one in judged], list(scores.values()), backend
                ),
            )
        )
    several = len(judged) > 1
    sections += [
        _own_section(one, one.contestant.name if several else "Pictures and films") for one in judged
    ]
    sections.append(Section("What the numbers mean", points=explanations(scores, optional)))
    return write_report(path, "Evaluation of avatars" if several else "Evaluation of an avatar", sections)


def _own_section(one: Judged, title: str) -> Section:
    evaluation = one.evaluation
    return Section(
        title,
        images=[
            *evaluation.telling,
            (
                "Mean difference over all frames, gathered on the head: dark where the avatar is right, yellow from "
                f"{FULL_SCALE:g} (of colours in 0..1) up, grey where no frame shows the surface",
                side_by_side(evaluation.on_surface, gap=4),
            ),
            *((view.caption, view.still) for view in one.views),
        ],
        videos=[
            ("Ground truth, prediction, difference, normals, geometry of all frames", evaluation.film),
            *((view.caption, view.film) for view in one.views),
        ],
    )


def scores_table(scores: Mapping[str, Sequence[FrameScores]]) -> Table:
    """Mean scores: a row for each metric, a column for each part and avatar. scores: by the avatar's name."""
    columns = _columns(scores)
    present = [name for name in METRICS if any(name in values for values in columns.values())]
    rows = [(name, *(columns[key].get(name) for key in columns)) for name in present]
    return Table(("mean over frames", *columns), rows, digits=4)


def regions_table(scores: Mapping[str, Sequence[FrameScores]]) -> Table:
    """Mean scores inside the regions of the face: a row for each region and metric."""
    columns = _columns(scores)
    rows = [
        (f"{region}: {label}", *(columns[key].get(f"{region}_{metric}") for key in columns))
        for region in REGIONS
        for metric, label in (("l1", "l1"), ("psnr", "psnr, dB"), ("ssim", "ssim"))
    ]
    return Table(("inside the region", *columns), rows, digits=4)


def _columns(scores: Mapping[str, Sequence[FrameScores]]) -> dict[str, dict[str, float]]:
    """Heading -> means: held-out after train, and of each part avatar after avatar."""
    by_avatar = {name: means(frames) for name, frames in scores.items()}
    columns = {}
    for part in PARTS:
        for name, parts in by_avatar.items():
            if part in parts:
                count = sum(frame.part == part for frame in scores[name])
                heading = f"{part.replace('_', '-')} ({count})"
                columns[heading if len(scores) == 1 else f"{name}: {heading}"] = parts[part]
    return columns


def doubts(scores: Mapping[str, Sequence[FrameScores]]) -> list[str]:
    """A line for each avatar that hardly meets the head in the pictures: something was mixed up, or not trained."""
    lines = []
    for name, frames in scores.items():
        overlap = float(np.mean([frame.scores["silhouette_iou"] for frame in frames]))
        if overlap < SMALLEST_OVERLAP:
            lines.append(
                f"{name}: drawn and true silhouette overlap by {100 * overlap:.0f} % only: is the tracking file of "
                "this dataset, and the avatar of this person?"
            )
    return lines


def not_computed(optional: OptionalMetrics, image_size: tuple[int, int]) -> list[str]:
    """A line for each metric of the method that the table lacks: why."""
    reasons = dict(optional.absent)
    if min(image_size) < MS_SSIM_SMALLEST_PX:
        reasons["ms_ssim"] = (
            f"it needs pictures of at least {MS_SSIM_SMALLEST_PX} pixels, these have {min(image_size)}"
        )
    return [f"{name} is not computed: {reasons[name]}" for name in METRICS if name in reasons]


def explanations(scores: Mapping[str, Sequence[FrameScores]], optional: OptionalMetrics) -> list[str]:
    """A line for each computed metric: what it is, and who computes it."""
    computed = next(iter(scores.values()))[0].scores
    lines = [
        f"{name}: {meaning}" + (f" (by {optional.by[name]})" if name in optional.by else "")
        for name, meaning in METRICS.items()
        if name in computed
    ]
    return [
        *lines,
        f"regions ({', '.join(REGIONS)}): where the true picture's parsing shows them; the eyes with their lids",
    ]


def score_charts(scores: Mapping[str, Sequence[FrameScores]]) -> list[tuple[str, np.ndarray]]:
    """A chart for each metric of CURVES with its title, a line for each avatar."""
    frames = next(iter(scores.values()))
    held_out = [frame.frame_id for frame in frames if frame.part == "held_out"]
    return [
        (title, curve_chart(title, _curves(scores, metric), held_out))
        for metric, title in CURVES.items()
        if metric in frames[0].scores
    ]


def _curves(scores: Mapping[str, Sequence[FrameScores]], metric: str) -> dict[str, Curve]:
    return {
        name: ([frame.frame_id for frame in frames], [frame.scores[metric] for frame in frames])
        for name, frames in scores.items()
    }


def comparison_pictures(
    contestants: Sequence[Contestant], scores: Sequence[Sequence[FrameScores]], backend: str = "auto"
) -> list[tuple[str, np.ndarray]]:
    """The telling frames: ground truth, then each avatar's picture, then each one's error, with captions."""
    mean_scores = [
        FrameScores(
            frames[0].frame_id,
            frames[0].part,
            {name: float(np.mean([f.scores[name] for f in frames])) for name in frames[0].scores},
        )
        for frames in zip(*scores, strict=True)
    ]
    pictures = []
    for part in PARTS:
        for frame_id, caption in telling_frames(mean_scores, part).items():
            drawn = [draw_one(c.avatar, c.data, part, frame_id, backend) for c in contestants]
            target = to_uint8(drawn[0].target[0])
            predictions = [to_uint8(frame.prediction[0]) for frame in drawn]
            names = [contestant.name for contestant in contestants]
            strip = side_by_side(
                [target, *predictions, *(error_map(prediction, target) for prediction in predictions)],
                [f"ground truth {frame_id}", *names, *(f"|difference| {name}" for name in names)],
            )
            pictures.append((caption, strip))
    return pictures
