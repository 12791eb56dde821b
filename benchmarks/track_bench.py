"""Accuracy and speed of the tracker on synthetic videos with ground truth.

    python benchmarks/track_bench.py [--seeds 1 2 3] [--frames 100] [--size 256] [--mode batched sequential]
                                     [--landmarks noisy | mediapipe] [--video MP4]

The landmarks that the tracker gets are the true ones with the errors of a real detector: noise of 1 % of the
distance between the outer eye corners inside the face and 3 % on the jaw, and 2 % of the frames with all landmarks
in a wrong place. Translation is compared after the focal length is factored out (depth times true over tracked
focal length) and the head is scaled to its true size; vertices after the best similarity of each frame. See
nha/evaluation/tracking_errors.py. --landmarks mediapipe takes those of a real detector, whose errors are
systematic: it defines landmarks differently from the head model, and guesses occluded ones.

Real videos have no ground truth. Their rows hold the distance of tracked to detected landmarks inside the face
(pixels, and as a part of the distance between the outer eye corners), and the largest motion from one frame to the
next over the median one, of the tracked and of the detected landmarks.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from nha.core.command_line import OptionParser
from nha.core.conventions import LANDMARK_GROUPS, N_FACE_LANDMARKS, OUTER_EYE_CORNERS
from nha.core.errors import UserError
from nha.core.json_file import undefined_as_null, write_json
from nha.core.system import run_script
from nha.core.tables import Table
from nha.data.dataset_folder import DatasetFolder, Keypoints, read_keypoints, write_keypoints
from nha.data.tracking_file import TrackingResult
from nha.evaluation.tracking_errors import tracking_errors
from nha.evaluation.truth import Truth, read_truth
from nha.head.assets import HeadAssets
from nha.head.load import load_head
from nha.head.model import HeadModel
from nha.preprocess.options import PreprocessOptions
from nha.preprocess.pipeline import build_dataset
from nha.render.camera import project
from nha.synthetic.settings import SyntheticSettings
from nha.synthetic.write_dataset import write_subject
from nha.tracking.frames import read_frames
from nha.tracking.report import jitter_px
from nha.tracking.settings import TrackingSettings
from nha.tracking.tracker import track_dataset

HEAD = "procedural"
MODES = ("batched", "sequential")
LANDMARKS = ("noisy", "mediapipe")
INNER_NOISE, JAW_NOISE = 0.01, 0.03  # of the distance between the outer eye corners
OUTLIER_SHARE, OUTLIER_SHIFT = 0.02, 1.0  # of the frames; in the same distances


def main(argv: list[str] | None = None) -> None:
    """Render, add landmark errors, track, compare; print a table and write JSON if asked for."""
    parser = OptionParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--seeds", type=int, nargs="*", default=[1, 2, 3], help="seeds of the synthetic subjects"
    )
    parser.add_argument("--frames", type=int, default=100, help="frames of each video")
    parser.add_argument("--size", type=int, default=256, help="side of the videos in pixels; even")
    parser.add_argument(
        "--mode", nargs="+", choices=MODES, default=list(MODES), help="tracker modes to measure"
    )
    parser.add_argument(
        "--landmarks",
        choices=LANDMARKS,
        default="noisy",
        help="true landmarks with noise, or those of a detector",
    )
    parser.add_argument(
        "--video",
        type=Path,
        nargs="+",
        default=[],
        help="real videos to track as well; --seeds without a number: only these",
    )
    parser.add_argument("--head", default=HEAD, help="head model for the real videos")
    parser.add_argument("--json", type=Path, help="write the rows there")
    arguments = parser.parse_args(argv)

    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for seed in arguments.seeds:
            folder = Path(scratch) / f"subject_{seed}"
            draw_subject(folder, seed, arguments.frames, arguments.size, arguments.landmarks)
            rows += [measure(folder, seed, mode) for mode in arguments.mode]
        for video in arguments.video:
            folder = Path(scratch) / f"video_{len(rows)}"
            annotate(video, folder, arguments.size, "mediapipe")
            rows += [measure_real(folder, video.name, mode, arguments.head) for mode in arguments.mode]
    if not rows:
        raise UserError("nothing to measure; name --seeds or --video")
    for names in {tuple(row): None for row in rows}:
        cells = [tuple(row.values()) for row in rows if tuple(row) == names]
        print(Table(names, cells, digits=3).as_text() + "\n")
    if arguments.json:
        write_json(arguments.json, undefined_as_null(rows))


def draw_subject(folder: Path, seed: int, frames: int, size: int, landmarks: str) -> None:
    """Write video, ground truth and a dataset whose landmarks have the errors of a detector."""
    write_subject(folder, SyntheticSettings(seed=seed, frames=frames, size=(size, size), head=HEAD))
    if landmarks == "mediapipe":
        annotate(folder / "video.mp4", folder, size, "mediapipe")
        return
    annotate(folder / "video.mp4", folder, size, "truth")
    dataset = DatasetFolder.open(folder / "dataset")
    generator = np.random.default_rng(seed)
    for frame_id in dataset.frame_ids():
        path = dataset.paths(frame_id).keypoints
        write_keypoints(path, add_landmark_errors(read_keypoints(path), generator))


def annotate(video: Path, folder: Path, size: int, estimators: str) -> None:
    """Write a dataset to `folder / "dataset"`; frames without a face are allowed."""
    build_dataset(
        PreprocessOptions(
            video=video, out_path=folder / "dataset", estimators=estimators, scale=size, max_missing=1.0
        )
    )


def add_landmark_errors(keypoints: Keypoints, generator: np.random.Generator) -> Keypoints:
    """Add noise to landmarks; in a few frames all of them get another place."""
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


def track(folder: Path, mode: str, head: str) -> tuple[TrackingResult, float]:
    """The tracking of a dataset in one mode, and seconds per frame."""
    start = time.perf_counter()
    tracked = track_dataset(
        TrackingSettings(
            data_path=folder / "dataset", output_path=folder / mode, head=head, mode=mode, video=False
        )
    )
    seconds = time.perf_counter() - start
    return tracked.result, seconds / len(tracked.frame_ids)


def measure(folder: Path, seed: int, mode: str) -> dict[str, float | int | str]:
    """Track a synthetic subject in one mode: a row of the table."""
    tracking, seconds_per_frame = track(folder, mode, HEAD)
    truth = read_truth(folder / "truth")
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
        "jitter_px": float(np.nanmean(jitter_px(tracked_landmarks_px(tracking, HEAD)))),
        "seconds_per_frame": seconds_per_frame,
    }


def measure_real(folder: Path, name: str, mode: str, head: str) -> dict[str, float | str]:
    """Track a video without truth in one mode: a row of the second table."""
    tracking, seconds_per_frame = track(folder, mode, head)
    frames = read_frames(folder / "dataset")
    inner = slice(len(LANDMARK_GROUPS["jaw"]), N_FACE_LANDMARKS)
    tracked = tracked_landmarks_px(tracking, head)
    detected = frames.landmarks_px[:, :N_FACE_LANDMARKS].numpy()
    found = frames.has_landmarks.numpy()
    right, left = (detected[found, corner] for corner in OUTER_EYE_CORNERS)
    distance_px = np.linalg.norm(tracked - detected, axis=-1)[found][:, inner]
    eye_part = distance_px / np.linalg.norm(right - left, axis=-1)[:, None]
    return {
        "video": name,
        "mode": mode,
        "landmark_px": float(np.median(distance_px)),
        "landmark_eye_part": float(np.median(eye_part)),
        "landmark_eye_part_worst_frame": float(np.median(eye_part, axis=1).max()),
        "largest_over_median_motion": largest_over_median_motion(tracked[found][:, inner]),
        "detected_largest_over_median_motion": largest_over_median_motion(detected[found][:, inner]),
        "jitter_px": float(np.nanmean(jitter_px(tracked))),
        "seconds_per_frame": seconds_per_frame,
    }


def largest_over_median_motion(landmarks_px: np.ndarray) -> float:
    """Largest over median mean distance that landmarks [F, L, 2] move from one frame to the next."""
    motion = np.linalg.norm(np.diff(landmarks_px, axis=0), axis=-1).mean(1)
    return float(motion.max() / np.median(motion))


def expression_correlation(tracking: TrackingResult, truth: Truth) -> float:
    """Correlation over time of tracked and true expression coefficients, mean over those that move in truth."""
    rows = truth.tracking.rows_of([int(i) for i in tracking.frame])
    found, true = np.asarray(tracking.expr), np.asarray(truth.tracking.expr)[rows]
    found, true = (values - values.mean(0) for values in (found, true))
    moving = true.std(0) > 1e-3
    scale = np.sqrt((found**2).sum(0) * (true**2).sum(0))[moving]
    return float(((found * true).sum(0)[moving] / np.maximum(scale, 1e-12)).mean())


@torch.no_grad()
def tracked_landmarks_px(tracking: TrackingResult, head: HeadAssets | str) -> np.ndarray:
    """The tracked mesh's landmarks in the tracked images: [F, 68, 2] pixels."""
    model = HeadModel(head, subdivisions=0, blur_sigma=None)
    ids = [int(i) for i in tracking.frame]
    points = model.landmarks(model(tracking.params_for(ids)))[:, :N_FACE_LANDMARKS]
    return project(points, tracking.camera_for(ids, tracking.image_size))[..., :2].numpy()


if __name__ == "__main__":
    run_script(main)
