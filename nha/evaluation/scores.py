"""The scores of rendered frames, their means and the file scores.json. `docs/method.md`, section 8."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from nha.core.json_file import undefined_as_null, write_json
from nha.evaluation import metrics
from nha.evaluation.cpbd import cpbd
from nha.evaluation.optional_metrics import OptionalMetrics
from nha.evaluation.regions import region_masks
from nha.evaluation.rendered_frames import RenderedFrames


@dataclass(frozen=True)
class FrameScores:
    """The scores of one frame.

    Attributes:
        frame_id: the frame.
        part: "train" or "held_out".
        scores: by metric, see `frame_metrics`.
    """

    frame_id: int
    part: str
    scores: dict[str, float]


def frame_metrics(rendered: RenderedFrames, optional: OptionalMetrics | None = None) -> dict[str, Tensor]:
    """Compute all metrics of N frames, [N] each.

    l1, l2, psnr, ssim, ms_ssim: of the whole image on white; ms_ssim only if the images are large enough.
    head_l1, head_l2, head_psnr, head_ssim: inside the head mask.
    covered_psnr: inside the head mask where the avatar covers the pixel, which excludes errors of the silhouette.
    silhouette_iou: intersection over union of alpha and head mask.
    cpbd, true_cpbd: sharpness of the prediction and of the true image.
    face_l1, face_psnr, face_ssim, and the same for eyes, mouth and hair: inside that region of the true image; NaN if
        the region is not visible.
    lpips, landmark_px: if `optional` has them.
    """
    prediction, target, mask = rendered.prediction, rendered.target, rendered.mask
    covered = rendered.rendering.alpha > 0.5
    similarity = metrics.ssim_map(prediction, target)
    scores = {
        "l1": metrics.mean_absolute_error(prediction, target),
        "l2": metrics.mean_squared_error(prediction, target),
        "psnr": metrics.psnr(prediction, target),
        "ssim": metrics.masked_mean(similarity),
    }
    if (multi_scale := metrics.ms_ssim(prediction, target)) is not None:
        scores["ms_ssim"] = multi_scale
    if optional is not None:
        scores |= {name: metric(prediction, target) for name, metric in optional.metrics.items()}
    scores |= {
        "cpbd": cpbd(prediction),
        "true_cpbd": cpbd(target),
        "head_l1": metrics.mean_absolute_error(prediction, target, mask),
        "head_l2": metrics.mean_squared_error(prediction, target, mask),
        "head_psnr": metrics.psnr(prediction, target, mask),
        "head_ssim": metrics.masked_mean(similarity, mask),
        "covered_psnr": metrics.psnr(prediction, target, mask & covered),
        "silhouette_iou": metrics.intersection_over_union(covered, mask),
    }
    for name, region in region_masks(rendered.batch.parsing, mask).items():
        scores[f"{name}_l1"] = metrics.mean_absolute_error(prediction, target, region)
        scores[f"{name}_psnr"] = metrics.psnr(prediction, target, region)
        scores[f"{name}_ssim"] = metrics.masked_mean(similarity, region)
    return scores


def score_frames(
    part: str, rendered: RenderedFrames, optional: OptionalMetrics | None = None
) -> list[FrameScores]:
    """Return the scores of N rendered frames of a part."""
    scores = frame_metrics(rendered, optional)
    return [
        FrameScores(frame_id, part, {name: float(values[i]) for name, values in scores.items()})
        for i, frame_id in enumerate(rendered.batch.frame_id.tolist())
    ]


def means(scores: Sequence[FrameScores]) -> dict[str, dict[str, float]]:
    """Return the mean over the frames of each part, by metric; values that are not finite are left out."""
    result: dict[str, dict[str, float]] = {}
    for part in dict.fromkeys(score.part for score in scores):
        frames = [score.scores for score in scores if score.part == part]
        columns = {name: np.array([frame[name] for frame in frames]) for name in frames[0]}
        result[part] = {
            name: float(values[np.isfinite(values)].mean()) if np.isfinite(values).any() else float("nan")
            for name, values in columns.items()
        }
    return result


def write_scores(path: str | Path, scores: Sequence[FrameScores], about: Mapping[str, object]) -> None:
    """Write `about`, the means and the scores of every frame as JSON, atomically; undefined values are null."""
    content = {
        **about,
        "mean": means(scores),
        "frames": [{"frame": s.frame_id, "part": s.part, **s.scores} for s in scores],
    }
    write_json(path, undefined_as_null(content))
