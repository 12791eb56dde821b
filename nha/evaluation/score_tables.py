"""Scores as tables, charts and lines of text, for the terminal and the reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from nha.core.tables import Table
from nha.evaluation.comparison import part_name
from nha.evaluation.metrics import MS_SSIM_SMALLEST_PX
from nha.evaluation.optional_metrics import OptionalMetrics
from nha.evaluation.regions import REGIONS
from nha.evaluation.rendered_frames import PARTS
from nha.evaluation.scores import FrameScores, means
from nha.visualization.curves import Curve, curve_chart

# Scores of the frames by the avatar's name.
ScoresByAvatar = Mapping[str, Sequence[FrameScores]]

# In the order of the table, with an explanation for readers who do not know the paper.
METRICS: dict[str, str] = {
    "l1": "mean absolute difference of the whole image on white, colours in 0..1; lower is better",
    "l2": "mean squared difference of the whole image; lower is better",
    "psnr": "peak signal-to-noise ratio of the whole image in dB; higher is better; the white background raises it",
    "ssim": "structural similarity of the whole image, up to 1; higher is better",
    "ms_ssim": "structural similarity at five scales, up to 1; higher is better",
    "lpips": "learned perceptual distance (AlexNet); lower is better",
    "landmark_px": "mean distance of 68 landmarks that a face detector finds in both images; lower is better",
    "cpbd": "sharpness of the prediction, 0 (blurred) to 1 (sharp)",
    "true_cpbd": "sharpness of the true image, for comparison",
    "head_l1": "as l1, inside the head mask only",
    "head_l2": "as l2, inside the head mask only",
    "head_psnr": "as psnr, inside the head mask only: the main metric",
    "head_ssim": "as ssim, inside the head mask only",
    "covered_psnr": "as head_psnr where the avatar covers the pixel: excludes errors of the silhouette",
    "silhouette_iou": "overlap of rendered and true silhouette, up to 1; higher is better",
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
OTHER_SPLIT = "this split is not the avatar's own"  # begins a note on such a split
SMALLEST_OVERLAP = 0.8  # mean intersection over union of the silhouettes; trained avatars have 0.93 and more


def scores_table(scores: ScoresByAvatar, split_notes: Mapping[str, str] | None = None) -> Table:
    """Mean scores: one row for each metric, one column for each part of the split and avatar.

    split_notes: a sentence for each avatar whose split is not that of its training; see `AvatarOnDataset`.
    """
    columns = _columns(scores)
    notes = {name: note for name, note in (split_notes or {}).items() if note}
    marked = any(note.startswith(OTHER_SPLIT) for note in notes.values())
    present = [name for name in METRICS if any(name in values for values in columns.values())]
    rows = [(name, *(columns[key].get(name) for key in columns)) for name in present]
    headings = [f"{heading} *" if marked else heading for heading in columns]
    lines = [f"* {name}: {note}" for name, note in notes.items()]
    return Table(("mean over frames", *headings), rows, digits=4, notes=lines)


def regions_table(scores: ScoresByAvatar) -> Table:
    """Mean scores inside the regions of the face: one row for each region and metric."""
    columns = _columns(scores)
    rows = [
        (f"{region}: {label}", *(columns[key].get(f"{region}_{metric}") for key in columns))
        for region in REGIONS
        for metric, label in (("l1", "l1"), ("psnr", "psnr, dB"), ("ssim", "ssim"))
    ]
    return Table(("inside the region", *columns), rows, digits=4)


def _columns(scores: ScoresByAvatar) -> dict[str, dict[str, float]]:
    """Heading -> means; the parts of the split in their order, and for each part the avatars."""
    by_avatar = {name: means(frames) for name, frames in scores.items()}
    columns = {}
    for part in PARTS:
        for name, parts in by_avatar.items():
            if part in parts:
                count = sum(frame.part == part for frame in scores[name])
                heading = f"{part_name(part)} ({count})"
                columns[heading if len(scores) == 1 else f"{name}: {heading}"] = parts[part]
    return columns


def score_charts(scores: ScoresByAvatar) -> list[tuple[str, np.ndarray]]:
    """Titles and charts of the metrics in `CURVES` over the frames, one curve for each avatar."""
    frames = next(iter(scores.values()))
    held_out = [frame.frame_id for frame in frames if frame.part == "held_out"]
    return [
        (title, curve_chart(title, _curves(scores, metric), held_out))
        for metric, title in CURVES.items()
        if metric in frames[0].scores
    ]


def _curves(scores: ScoresByAvatar, metric: str) -> dict[str, Curve]:
    return {
        name: ([frame.frame_id for frame in frames], [frame.scores[metric] for frame in frames])
        for name, frames in scores.items()
    }


def silhouette_warnings(scores: ScoresByAvatar) -> list[str]:
    """One line for each avatar whose silhouette hardly overlaps the true one: wrong files, or not trained."""
    lines = []
    for name, frames in scores.items():
        overlap = float(np.mean([frame.scores["silhouette_iou"] for frame in frames]))
        if overlap < SMALLEST_OVERLAP:
            lines.append(
                f"{name}: rendered and true silhouette overlap by only {100 * overlap:.0f} %; check that the tracking "
                "file belongs to this dataset and the avatar to this person"
            )
    return lines


def missing_metrics(optional: OptionalMetrics, image_size: tuple[int, int]) -> list[str]:
    """One line for each metric that was not computed, with the reason."""
    reasons = dict(optional.absent)
    if min(image_size) < MS_SSIM_SMALLEST_PX:
        reasons["ms_ssim"] = (
            f"it needs images of at least {MS_SSIM_SMALLEST_PX} pixels, these have {min(image_size)}"
        )
    return [f"{name} is not computed: {reasons[name]}" for name in METRICS if name in reasons]


def explanations(scores: ScoresByAvatar, optional: OptionalMetrics) -> list[str]:
    """One line for each computed metric: its meaning, and the network or detector that it uses."""
    computed = next(iter(scores.values()))[0].scores
    lines = [
        f"{name}: {meaning}" + (f" (by {optional.by[name]})" if name in optional.by else "")
        for name, meaning in METRICS.items()
        if name in computed
    ]
    return [
        *lines,
        f"regions ({', '.join(REGIONS)}): according to the parsing of the true image; the eyes include the lids",
    ]
