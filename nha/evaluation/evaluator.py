"""Draws every frame of a dataset with an avatar and scores it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from nha.avatar.avatar import NeuralHeadAvatar
from nha.core.errors import UserError
from nha.core.system import atomic_path
from nha.core.types import Fragments, FrameBatch, Surface
from nha.data.frame_dataset import FrameDataset, FrameSplits
from nha.evaluation import metrics
from nha.evaluation.cpbd import cpbd
from nha.evaluation.optional_metrics import OptionalMetrics
from nha.evaluation.regions import region_masks
from nha.losses.masks import foreground_mask, whiten_background

PARTS = ("train", "held_out")


@dataclass(frozen=True)
class DrawnFrames:
    """N frames as the avatar shows them, beside what the camera saw.

    prediction, target: [N, 3, H, W] rgb01 on white; alpha: [N, 1, H, W]; mask: bool [N, 1, H, W], the head's
    foreground; normals: [N, 3, H, W] of the mesh (x right, y down, z to the camera); surface: the posed meshes;
    fragments: which faces the pixels see.
    """

    batch: FrameBatch
    prediction: Tensor
    target: Tensor
    alpha: Tensor
    mask: Tensor
    normals: Tensor
    surface: Surface
    fragments: Fragments


@dataclass(frozen=True)
class FrameScores:
    """The scores of one frame, by metric (see `score_frames`)."""

    frame_id: int
    part: str
    scores: dict[str, float]


@torch.no_grad()
def draw_frames(avatar: NeuralHeadAvatar, batch: FrameBatch, backend: str = "auto") -> DrawnFrames:
    """Draw a batch with its tracked parameters and the avatar's corrections."""
    surface = avatar.surface(avatar.corrected(batch.tracked, batch.frame_id))
    gbuffer = avatar.rasterize(surface, batch.camera, backend=backend)
    rgb01 = avatar.paint(gbuffer, avatar.mouth_features(surface)).clamp(0, 1)
    return DrawnFrames(
        batch=batch,
        prediction=rgb01,
        target=whiten_background(batch.rgb01, batch.segmentation),
        alpha=gbuffer.alpha,
        mask=foreground_mask(batch.segmentation),
        normals=gbuffer["normals"],
        surface=surface,
        fragments=gbuffer.fragments,
    )


def score_frames(drawn: DrawnFrames, optional: OptionalMetrics | None = None) -> dict[str, Tensor]:
    """Every metric of N frames, [N] each; `metrics` defines them.

    l1, l2, psnr, ssim, ms_ssim: the whole picture on white (ms_ssim only where pictures are large enough);
    head_l1, head_l2, head_psnr, head_ssim: inside the head mask; covered_psnr: inside the head mask where the
    avatar draws anything, which leaves the silhouette's errors out; silhouette_iou: alpha against the head mask;
    cpbd, true_cpbd: sharpness of the prediction and of the true picture; face_l1, face_psnr, face_ssim and the same
    of eyes, mouth and hair: inside that region of the true picture, NaN where it is not seen; lpips, landmark_px:
    where `optional` has them.
    """
    prediction, target, mask = drawn.prediction, drawn.target, drawn.mask
    covered = drawn.alpha > 0.5
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
        "head_psnr": metrics.masked_psnr(prediction, target, mask),
        "head_ssim": metrics.masked_mean(similarity, mask),
        "covered_psnr": metrics.masked_psnr(prediction, target, mask & covered),
        "silhouette_iou": metrics.intersection_over_union(covered, mask),
    }
    for name, region in region_masks(drawn.batch.parsing, mask).items():
        scores[f"{name}_l1"] = metrics.mean_absolute_error(prediction, target, region)
        scores[f"{name}_psnr"] = metrics.masked_psnr(prediction, target, region)
        scores[f"{name}_ssim"] = metrics.masked_mean(similarity, region)
    return scores


def frames_of(data: FrameSplits, part: str) -> FrameDataset:
    """The frames of a part, "train" or "held_out"."""
    return {"train": data.train, "held_out": data.val}[part]


def evaluate(
    avatar: NeuralHeadAvatar,
    data: FrameSplits,
    parts: Sequence[str] = PARTS,
    *,
    batch_size: int = 4,
    backend: str = "auto",
    optional: OptionalMetrics | None = None,
    also: Callable[[str, DrawnFrames], None] | None = None,
    name: str = "evaluating",
) -> list[FrameScores]:
    """Score all frames of the named parts, in order, with a progress bar that is called `name`.

    optional: metrics besides those that are always computed; also: is shown each part's name and drawn batch, for
    pictures and videos. Raises UserError where all parts are empty.
    """
    batches = [(part, batch) for part in parts for batch in _batches(frames_of(data, part), batch_size)]
    if not batches:
        raise UserError(
            "there is no frame to evaluate in this part of the split; choose another with --split"
        )
    device = avatar.vertex_features.device
    results = []
    for part, indices in tqdm(batches, desc=name, unit="batch"):
        drawn = draw_frames(avatar, frames_of(data, part).batch(indices).to(device), backend)
        scores = score_frames(drawn, optional)
        results += [
            FrameScores(frame_id, part, {name: float(values[i]) for name, values in scores.items()})
            for i, frame_id in enumerate(drawn.batch.frame_id.tolist())
        ]
        if also is not None:
            also(part, drawn)
    return results


def means(scores: Sequence[FrameScores]) -> dict[str, dict[str, float]]:
    """Mean over the frames of each part, by metric; frames where a metric is not finite are left out."""
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
    """Write what was evaluated, the means and every frame's scores as JSON, atomically; null is "not defined"."""
    content = {
        **about,
        "mean": {part: _finite(values) for part, values in means(scores).items()},
        "frames": [{"frame": s.frame_id, "part": s.part, **_finite(s.scores)} for s in scores],
    }
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, allow_nan=False), encoding="utf-8")


def _finite(scores: Mapping[str, float]) -> dict[str, float | None]:
    """JSON knows neither NaN nor infinity."""
    return {name: value if math.isfinite(value) else None for name, value in scores.items()}


def _batches(frames: FrameDataset, size: int) -> Iterator[range]:
    for start in range(0, len(frames), size):
        yield range(start, min(start + size, len(frames)))
