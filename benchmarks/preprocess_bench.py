"""Accuracy and speed of the estimators.

    python benchmarks/preprocess_bench.py [--seeds 1 2 3] [--frames 40] [--size 512] [--estimators mediapipe]
    python benchmarks/preprocess_bench.py --video my_video.mp4

On synthetic people, whose truth is known: intersection over union of each label and of the whole person, errors of
landmarks and irises in units of the distance between the outer eye corners, angle between found and true normals.
`changes_beyond_truth` is the share of head pixels whose label changes from one frame to the next although the true
label does not change nearby; `flips` is the share of pixels whose label differs from the equal ones before and after.
With --video, which has no ground truth: speed, memory, flips, and the share of the head that each label covers. Every
run has its own process.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import torch

from bench import peak_memory_mb
from nha.core.command_line import OptionParser
from nha.core.conventions import LANDMARK_GROUPS, OUTER_EYE_CORNERS, Parsing
from nha.core.json_file import undefined_as_null, write_json
from nha.core.system import run_script
from nha.core.tables import Table
from nha.data.dataset_folder import DatasetFolder, read_keypoints, read_labels, read_normals
from nha.preprocess.dataset_info import read_info
from nha.preprocess.options import PreprocessOptions
from nha.preprocess.pipeline import build_dataset
from nha.preprocess.registry import is_available
from nha.synthetic.settings import SyntheticSettings
from nha.synthetic.write_dataset import write_subject

FEATURES = (Parsing.NOSE, Parsing.L_BROW, Parsing.R_BROW, Parsing.L_EYE, Parsing.R_EYE, Parsing.U_LIP)
CLASSES = {
    "hair": (Parsing.HAIR,),
    "skin": (Parsing.SKIN,),
    "face": (Parsing.SKIN, *FEATURES, Parsing.L_LIP, Parsing.MOUTH),
    "ears": (Parsing.L_EAR, Parsing.R_EAR),
    "neck": (Parsing.NECK,),
    "cloth": (Parsing.CLOTH,),
    "nose": (Parsing.NOSE,),
    "brows": (Parsing.L_BROW, Parsing.R_BROW),
    "eyes": (Parsing.L_EYE, Parsing.R_EYE),
    "lips": (Parsing.U_LIP, Parsing.L_LIP),
    "mouth": (Parsing.MOUTH,),
}
NEAR_PX = 2  # at 512 pixels: labels may change within this distance of a change in the ground truth
Result = TypeVar("Result")
Row = dict[str, float | int | str | None]


def main(argv: list[str] | None = None) -> None:
    """Annotate, compare; print a table, write JSON where asked."""
    parser = OptionParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="which synthetic people")
    parser.add_argument("--frames", type=int, default=40, help="frames of each video, at most")
    parser.add_argument("--size", type=int, default=512, help="longer edge of the annotated frames in pixels")
    parser.add_argument("--video", type=Path, help="a video without truth, instead of synthetic people")
    parser.add_argument("--estimators", nargs="+", help="default: those that are available")
    parser.add_argument("--json", type=Path, help="write the rows there")
    arguments = parser.parse_args(argv)

    selections = arguments.estimators or available_combinations()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if arguments.video:
            rows += [
                measure_video(folder, arguments.video, estimators, arguments) for estimators in selections
            ]
        for seed in [] if arguments.video else arguments.seeds:
            subject = folder / f"subject_{seed}"
            size = (arguments.size, arguments.size)
            alone(write_subject, subject, SyntheticSettings(seed=seed, frames=arguments.frames, size=size))
            rows += [measure_subject(subject, seed, estimators, arguments) for estimators in selections]
    print(as_table(rows).as_text())
    if arguments.json:
        write_json(arguments.json, undefined_as_null(rows))


def available_combinations() -> list[str]:
    """Combinations of estimators whose files are in place, without the ground truth."""
    return ["mediapipe", *(["published"] if is_available("published") else [])]


def as_table(rows: list[Row]) -> Table:
    """Table with a column for each run."""
    names = [f"{row['estimators']} {row['of']}" for row in rows]
    figures = [key for key in rows[0] if key not in ("estimators", "of")]
    return Table(("", *names), [(key, *(row.get(key) for row in rows)) for key in figures], digits=3)


def measure_video(folder: Path, video: Path, estimators: str, arguments: argparse.Namespace) -> Row:
    """Figures of a video without ground truth."""
    out = folder / estimators
    speed = run_alone(video, out, estimators, arguments)
    labels = [read_labels(DatasetFolder(out).paths(i).parsing) for i in DatasetFolder(out).frame_ids()]
    return {"estimators": estimators, "of": video.stem, **speed, "flips": flips(labels), **shares(labels)}


def measure_subject(subject: Path, seed: int, estimators: str, arguments: argparse.Namespace) -> Row:
    """Figures of a synthetic video with ground truth."""
    out = subject / f"by_{estimators}"
    speed = run_alone(subject / "video.mp4", out, estimators, arguments)
    found, truth = DatasetFolder(out), DatasetFolder(subject / "truth")
    ids = found.frame_ids()
    labels = [read_labels(found.paths(i).parsing) for i in ids]
    true_labels = [read_labels(truth.paths(i).parsing) for i in ids]
    masks = [read_labels(truth.root / "masks" / f"mask_{i:04d}.png") > 127 for i in ids]
    return {
        "estimators": estimators,
        "of": seed,
        **speed,
        "matte_iou": overlap([found_labels > 0 for found_labels in labels], masks),
        **{f"{name}_iou": class_overlap(labels, true_labels, members) for name, members in CLASSES.items()},
        "changes_beyond_truth": changes_beyond_truth(labels, true_labels),
        "flips": flips(labels),
        **normal_errors(found, truth),
        **point_errors(found, truth),
    }


# --- speed -----------------------------------------------------------------------------------------------


def run_alone(video: Path, out: Path, estimators: str, arguments: argparse.Namespace) -> Row:
    """Make the dataset in a new process; the time to load packages is not counted."""
    options = PreprocessOptions(
        video=video,
        out_path=out,
        estimators=estimators,
        scale=arguments.size,
        max_frames=arguments.frames,
        max_missing=0.5,
    )
    return alone(timed, options)


def alone(function: Callable[..., Result], *arguments: object) -> Result:
    """Call a function in a new process, because peak memory includes everything that a process has held."""
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def timed(options: PreprocessOptions) -> Row:
    """Make the dataset: frames per second, processor time a frame of all threads, peak memory."""
    start, cpu_start = time.perf_counter(), time.process_time()
    n_frames = read_info(build_dataset(options)).n_frames
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    return {
        "frames": n_frames,
        "frames_per_second": n_frames / seconds,
        "cpu_ms_per_frame": 1000 * cpu_seconds / n_frames,
        "peak_memory_mb": peak_memory_mb(torch.device("cpu")),
    }


# --- labels ----------------------------------------------------------------------------------------------


def overlap(found: list[np.ndarray], true: list[np.ndarray]) -> float | None:
    """Intersection over union of masks over all frames; None if all masks are empty."""
    both = sum(int((a & b).sum()) for a, b in zip(found, true, strict=True))
    either = sum(int((a | b).sum()) for a, b in zip(found, true, strict=True))
    return both / either if either else None


def class_overlap(found: list[np.ndarray], true: list[np.ndarray], members: tuple[int, ...]) -> float | None:
    """`overlap` of several labels taken together; None if the ground truth has none of them."""
    true_masks = [np.isin(labels, members) for labels in true]
    if not any(mask.any() for mask in true_masks):
        return None
    return overlap([np.isin(labels, members) for labels in found], true_masks)


def is_head(labels: np.ndarray) -> np.ndarray:
    """Everything but background and cloth."""
    return (labels != Parsing.BACKGROUND) & (labels != Parsing.CLOTH)


def changes_beyond_truth(found: list[np.ndarray], true: list[np.ndarray]) -> float:
    """Share of head pixels whose label changes between frames although the true label does not change nearby."""
    near = np.ones((2 * round(NEAR_PX * max(found[0].shape) / 512) + 1,) * 2, np.uint8)
    changed = total = 0
    for before, now, true_before, true_now in zip(found, found[1:], true, true[1:], strict=False):
        excused = cv2.dilate((true_before != true_now).astype(np.uint8), near) > 0
        head = is_head(before) | is_head(now)
        changed += int(((before != now) & head & ~excused).sum())
        total += int(head.sum())
    return changed / max(total, 1)


def flips(labels: list[np.ndarray]) -> float:
    """Share of head pixels whose label differs from those before and after, which are equal."""
    flipped = total = 0
    for before, now, after in zip(labels, labels[1:], labels[2:], strict=False):
        head = is_head(now) | is_head(before)
        flipped += int(((before == after) & (now != before) & head).sum())
        total += int(head.sum())
    return flipped / max(total, 1)


def shares(labels: list[np.ndarray]) -> Row:
    """Share of the head that each class covers, and its mean relative change from frame to frame."""
    result: Row = {}
    for name, members in CLASSES.items():
        areas = np.array([np.isin(frame, members).sum() / max(is_head(frame).sum(), 1) for frame in labels])
        result[f"{name}_share"] = float(areas.mean())
        steps = np.abs(np.diff(areas)).mean() / max(areas.mean(), 1e-9) if len(areas) > 1 else 0.0
        result[f"{name}_step"] = float(steps)
    return result


# --- normals and points ----------------------------------------------------------------------------------


def normal_errors(found: DatasetFolder, truth: DatasetFolder) -> Row:
    """Angles in degrees where both have a normal, and the share of the true normals that were found."""
    angles, n_true = [], 0
    for frame_id in found.frame_ids():
        a, b = (read_normals(folder.paths(frame_id).normals) for folder in (found, truth))
        known_a, known_b = np.abs(a).max(axis=2) > 0, np.abs(b).max(axis=2) > 0
        a, b = a[known_a & known_b], b[known_a & known_b]
        cosine = (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
        angles.append(np.degrees(np.arccos(cosine.clip(-1, 1))))
        n_true += int(known_b.sum())
    angles = np.concatenate(angles)
    return {
        "normals_deg_mean": float(angles.mean()),
        "normals_deg_median": float(np.median(angles)),
        "normals_found": len(angles) / max(n_true, 1),
    }


def point_errors(found: DatasetFolder, truth: DatasetFolder) -> Row:
    """Mean distances in units of that of the outer eye corners."""
    landmarks, irises = [], []
    for frame_id in found.frame_ids():
        a, b = (read_keypoints(folder.paths(frame_id).keypoints) for folder in (found, truth))
        right, left = b.landmarks_px[list(OUTER_EYE_CORNERS)]
        unit = np.linalg.norm(right - left)
        landmarks.append(np.linalg.norm(a.landmarks_px - b.landmarks_px, axis=1) / unit)
        known = (a.iris_px >= 0).all(axis=1) & (b.iris_px >= 0).all(axis=1)
        irises.extend(np.linalg.norm(a.iris_px - b.iris_px, axis=1)[known] / unit)
    jaw = list(LANDMARK_GROUPS["jaw"])
    landmarks = np.stack(landmarks)
    return {
        "landmarks": float(landmarks.mean()),
        "landmarks_jaw": float(landmarks[:, jaw].mean()),
        "landmarks_inner": float(np.delete(landmarks, jaw, axis=1).mean()),
        "irises": float(np.mean(irises)) if irises else None,
        "irises_found": len(irises) / (2 * len(landmarks)),
    }


if __name__ == "__main__":
    run_script(main)
