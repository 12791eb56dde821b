"""Splits the held-out error of trained avatars into its causes.

    python benchmarks/oracles.py --avatar CKPT ... --dataset DIR ... --tracking NPZ ... [--split_config JSON]
                                 [--part held_out] [--unfitted] [--json FILE]

Each row removes one cause of the error with the help of the true images (nha/evaluation/oracles.py) and scores again:

as rendered              nothing removed
light                    a gain and low-order shading, fitted to each frame
texture of the training frames
                         the mean error of each texel (128²) in the training frames added to it: no oracle, but what the
                         texture has not yet learned
texture of other frames  the same with the mean error over every second frame of the part, added to the others: what
                         another fixed texture could reach with this geometry
texture of each frame    the same for each frame alone, with coarser texels (32²): what a changing texture could reach
aligned                  pixels moved by dense optical flow; "affinely": by one affine map of the image for each frame
coverage                 silhouette corrected to the head mask; the colours there are those of the nearest covered pixel
coverage, ...            both

Scores are means over the frames of the part, and over the avatars where several are given.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from nha.avatar.open import load_avatar
from nha.core.command_line import OptionParser
from nha.core.errors import UserError
from nha.core.json_file import undefined_as_null, write_json
from nha.core.system import run_script
from nha.core.tables import Table
from nha.data.frame_dataset import FrameSplits
from nha.data.settings import DataSettings
from nha.evaluation.oracles import (
    CHANNELS,
    Oracle,
    align,
    align_affinely,
    chained,
    correct_coverage,
    flow_to_prediction,
    joined,
    relight,
    retexture,
    separated,
    texture_error,
)
from nha.evaluation.rendered_frames import PARTS, RenderedFrames, render_dataset
from nha.evaluation.scores import means, score_frames

SCORES = ("psnr", "ssim", "head_psnr", "covered_psnr", "face_psnr", "eyes_psnr", "mouth_psnr", "hair_psnr")
FIXED_TEXELS, CHANGING_TEXELS = 128, 32  # side of the texture maps that are refitted
# Rows of the table whose frames are corrected one batch at a time.
ORACLES: dict[str, Sequence[Oracle]] = {
    "as rendered": (),
    "light": (relight,),
    "aligned": (align,),
    "coverage": (correct_coverage,),
    "coverage, light": (correct_coverage, relight),
    "coverage, aligned affinely": (correct_coverage, align_affinely, correct_coverage),
    "coverage, aligned": (correct_coverage, align, correct_coverage),
    "coverage, aligned, light": (correct_coverage, align, correct_coverage, relight),
}


def main(argv: list[str] | None = None) -> None:
    """Render, correct, score; print a table and write JSON if asked for."""
    parser = OptionParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--avatar", type=Path, nargs="+", required=True, help="checkpoints of trained avatars"
    )
    parser.add_argument("--dataset", type=Path, nargs="+", required=True, help="the dataset of each avatar")
    parser.add_argument("--tracking", type=Path, nargs="+", required=True, help="the tracking of each avatar")
    parser.add_argument("--split_config", type=Path, help="split.json; the dataset's own otherwise")
    parser.add_argument("--part", choices=PARTS, default="held_out", help="part of the split")
    parser.add_argument("--unfitted", action="store_true", help="leave out the corrections of these frames")
    parser.add_argument("--head", help="head model; that of each avatar otherwise")
    parser.add_argument("--json", type=Path, help="write the rows there")
    arguments = parser.parse_args(argv)
    if not len(arguments.avatar) == len(arguments.dataset) == len(arguments.tracking):
        raise UserError("--avatar, --dataset and --tracking must name the same number of files")

    tables = []
    for avatar, dataset, tracking in zip(
        arguments.avatar, arguments.dataset, arguments.tracking, strict=True
    ):
        settings = DataSettings(dataset, tracking, split_config=arguments.split_config)
        frames, train_error = render(avatar, arguments.head, settings, arguments.part, not arguments.unfitted)
        print(f"{avatar}: the flow moves pixels of the head by {moved_px(frames):.2f} px (median)")
        tables.append(oracle_scores(frames, train_error))
    rows = [
        {"oracle": name, **{score: float(np.mean([t[name][score] for t in tables])) for score in SCORES}}
        for name in tables[0]
    ]
    print(Table(tuple(rows[0]), [tuple(row.values()) for row in rows], digits=3).as_text())
    if arguments.json:
        write_json(arguments.json, undefined_as_null(rows))


def render(
    checkpoint: Path, head: str | None, settings: DataSettings, part: str, fitted: bool
) -> tuple[RenderedFrames, Tensor]:
    """All frames of a part of the split as an avatar renders them, and its `texture_error` in the training frames."""
    avatar, data = load_avatar(checkpoint, head), FrameSplits(settings)

    def frames(part: str, fitted: bool) -> RenderedFrames:
        return joined(
            rendered for _, rendered in render_dataset(avatar, data, [part], channels=CHANNELS, fitted=fitted)
        )

    return frames(part, fitted), texture_error(frames("train", True), FIXED_TEXELS)


def oracle_scores(frames: RenderedFrames, train_error: Tensor) -> dict[str, dict[str, float]]:
    """Mean scores by the oracle's name; train_error: see `render`."""
    aligned = chained(ORACLES["coverage, aligned"])(frames)
    corrected = {name: chained(oracles)(frames) for name, oracles in ORACLES.items()}
    for name, start in (
        ("", frames),
        ("coverage, ", correct_coverage(frames)),
        ("coverage, aligned, ", aligned),
    ):
        single = separated(start)
        each = [retexture(frame, texture_error(frame, CHANGING_TEXELS)) for frame in single]
        corrected[f"{name}texture of the training frames"] = retexture(start, train_error)
        corrected[f"{name}texture of other frames"] = joined(with_texture_of_the_others(single))
        corrected[f"{name}texture of each frame"] = joined(each)
    return {name: means(score_frames("all", frames))["all"] for name, frames in corrected.items()}


def with_texture_of_the_others(frames: Sequence[RenderedFrames]) -> list[RenderedFrames]:
    """Each single frame with the texture error of every second frame to which it does not belong."""
    if len(frames) < 2:
        return list(frames)
    halves = [texture_error(joined(frames[first::2]), FIXED_TEXELS) for first in (0, 1)]
    return [retexture(frame, halves[1 - i % 2]) for i, frame in enumerate(frames)]


def moved_px(frames: RenderedFrames) -> float:
    """Median length of the flow inside the head mask after the coverage is corrected, pixels."""
    flow = flow_to_prediction(correct_coverage(frames))
    return float(np.median(np.linalg.norm(flow, axis=-1)[frames.mask[:, 0].cpu().numpy()]))


if __name__ == "__main__":
    run_script(main)
