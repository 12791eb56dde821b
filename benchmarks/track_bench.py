"""How exact and how fast the tracker is on synthetic people, whose truth is known.

    python benchmarks/track_bench.py [--seeds 1 2 3] [--frames 100] [--size 256] [--mode batched sequential]

The landmarks that the tracker gets are the true ones with the errors of a real detector: noise of 1 % of the
distance between the outer eye corners inside the face and 3 % on the jaw, and 2 % of the frames with all landmarks
in a wrong place. Translation is compared after the focal length is factored out (depth times true over tracked
focal length) and the head is scaled to its true size; vertices after the best similarity of each frame. See
nha/evaluation/tracking_errors.py.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from nha.core.command_line import OptionParser
from nha.core.conventions import LANDMARK_GROUPS
from nha.core.system import atomic_path, run_script
from nha.data.dataset_folder import DatasetFolder, Keypoints, read_keypoints, write_keypoints
from nha.data.tracking_file import TrackingResult, read_tracking
from nha.evaluation.tables import Table
from nha.evaluation.tracking_errors import tracking_errors
from nha.evaluation.truth import Truth, read_truth
from nha.head.assets import load_head
from nha.head.model import HeadModel
from nha.preprocess.options import PreprocessOptions
from nha.preprocess.pipeline import build_dataset
from nha.render.camera import project
from nha.synthetic import SyntheticSettings, write_subject
from nha.tracking.settings import TrackingSettings
from nha.tracking.tracker import track_dataset

HEAD = "procedural"
MODES = ("batched", "sequential")
INNER_NOISE, JAW_NOISE = 0.01, 0.03  # of the distance between the outer eye corners
OUTLIER_SHARE, OUTLIER_SHIFT = 0.02, 1.0  # of the frames; in the same distances
OUTER_EYE_CORNERS = (36, 45)


def main(argv: list[str] | None = None) -> None:
    """Draw, spoil, track, compare; print a table, write JSON where asked."""
    parser = OptionParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="which synthetic people")
    parser.add_argument("--frames", type=int, default=100, help="frames of each video")
    parser.add_argument("--size", type=int, default=256, help="side of the videos in pixels; even")
    parser.add_argument("--mode", nargs="+", choices=MODES, default=list(MODES), help="what to compare")
    parser.add_argument("--json", type=Path, help="write the rows there")
    arguments = parser.parse_args(argv)

    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for seed in arguments.seeds:
            folder = Path(scratch) / f"subject_{seed}"
            draw_subject(folder, seed, arguments.frames, arguments.size)
            rows += [measure(folder, seed, mode) for mode in arguments.mode]
    columns = list(rows[0])
    print(Table(tuple(columns), [tuple(row.values()) for row in rows], digits=3).as_text())
    if arguments.json:
        with atomic_path(arguments.json) as temporary:
            temporary.write_text(json.dumps(rows, indent=1), encoding="utf-8")


def draw_subject(folder: Path, seed: int, frames: int, size: int) -> None:
    """Video, truth and a dataset whose landmarks are those of a detector that errs."""
    write_subject(folder, SyntheticSettings(seed=seed, frames=frames, size=(size, size), head=HEAD))
    options = PreprocessOptions(
        video=folder / "video.mp4", out_path=folder / "dataset", estimators="truth", scale=size
    )
    build_dataset(options)
    dataset = DatasetFolder.open(folder / "dataset")
    generator = np.random.default_rng(seed)
    for frame_id in dataset.frame_ids():
        path = dataset.paths(frame_id).keypoints
        write_keypoints(path, spoil(read_keypoints(path), generator))


def spoil(keypoints: Keypoints, generator: np.random.Generator) -> Keypoints:
    """Landmarks with noise; in a few frames all of them are elsewhere."""
    points = keypoints.landmarks_px
    right, left = points[list(OUTER_EYE_CORNERS)]
    unit = np.linalg.norm(right - left)
    noise = np.full((len(points), 1), INNER_NOISE)
    noise[list(LANDMARK_GROUPS["jaw"])] = JAW_NOISE
    moved = points + unit * noise * generator.standard_normal(points.shape)
    shift = OUTLIER_SHIFT * unit * generator.standard_normal(points.shape)
    if generator.random() < OUTLIER_SHARE:
        moved = moved + shift
    return dataclasses.replace(keypoints, landmarks_px=moved.astype(np.float32))


def measure(folder: Path, seed: int, mode: str) -> dict[str, float | int | str]:
    """Track a dataset in one mode: a row of the table."""
    output = folder / mode
    start = time.perf_counter()
    track_dataset(
        TrackingSettings(data_path=folder / "dataset", output_path=output, head=HEAD, mode=mode, video=False)
    )
    seconds = time.perf_counter() - start
    tracking, truth = read_tracking(output), read_truth(folder / "truth")
    errors = tracking_errors(load_head(HEAD), tracking, truth)
    return {
        "seed": seed,
        "mode": mode,
        "rotation_deg_median": float(np.median(errors["rotation_deg"])),
        "rotation_deg_p95": float(np.percentile(errors["rotation_deg"], 95)),
        "translation_mm": float(np.median(errors["translation_scaled_mm"])),
        "landmark_px": float(np.median(errors["landmark_px"])),
        "vertex_mm": float(np.median(errors["vertex_scaled_mm"])),
        "expr_correlation": expression_correlation(tracking, truth),
        "jitter_px": jitter_px(tracking),
        "seconds_per_frame": seconds / len(tracking),
    }


def expression_correlation(tracking: TrackingResult, truth: Truth) -> float:
    """Correlation over time of tracked and true expression coefficients, mean over those that move in truth."""
    rows = truth.tracking.rows_of([int(i) for i in tracking.frame])
    found, true = np.asarray(tracking.expr), np.asarray(truth.tracking.expr)[rows]
    found, true = (values - values.mean(0) for values in (found, true))
    moving = true.std(0) > 1e-3
    scale = np.sqrt((found**2).sum(0) * (true**2).sum(0))[moving]
    return float(((found * true).sum(0)[moving] / np.maximum(scale, 1e-12)).mean())


def jitter_px(tracking: TrackingResult) -> float:
    """Mean length of the second difference over time of the tracked landmarks, in pixels."""
    head = HeadModel(load_head(HEAD), subdivisions=0, blur_sigma=None)
    ids = [int(i) for i in tracking.frame]
    with torch.no_grad():
        points = head.landmarks(head(tracking.params_for(ids)))
        pixels = project(points, tracking.camera_for(ids, tracking.image_size))[..., :2]
    return float((pixels[2:] - 2 * pixels[1:-1] + pixels[:-2]).norm(dim=-1).mean())


if __name__ == "__main__":
    run_script(main)
