"""How well a tracked mesh covers the whole head: ears, outline and the slopes of mouth and lids.

    python benchmarks/shape_bench.py --dataset DIR --tracking NPZ [--head procedural] [--overlays DIR]
    python benchmarks/shape_bench.py --seeds 9 12 [--frames 80] [--size 256] [--landmarks mediapipe]

The first table compares the mesh with the annotations of a dataset, every tenth frame:

ear_iou, ear_iou_min   intersection over union of the mesh's visible ears with the parsed ears; mean and minimum over
                       frames in which the parsing shows an ear
uncovered              share of the parsed pixels of face and ears that the mesh does not cover
outline_iou            intersection over union of the mesh with parsed face, ears and neck. Pixels of hair, headwear
                       and clothes, and pixels below the mesh's lower rim, do not count
lip_gap, mouth_width, lid_right, lid_left, brow_right, brow_left
                       slope of the tracked distance against the detected one over the frames with landmarks whose
                       yaw is at most --largest-yaw, in units of the distance between the outer eye corners, and
                       `..._r`, the correlation (in profile that unit shrinks, and its error decides)

The second table has the errors on synthetic people, who turn to 70 degrees on both sides:

ear_mm, skull_mm, neck_mm   mean distance of corresponding vertices after the similarity that aligns the face; median
                            over frames
rotation_deg_median, rotation_deg_p95   error of the head's orientation
lip_gap_true, ...           slope of the tracked against the true distance on the head itself, over all frames
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

import track_bench
from nha.core.alignment import align
from nha.core.command_line import OptionParser
from nha.core.conventions import EYE_CLOSURE_PAIRS, OUTER_EYE_CORNERS, Parsing
from nha.core.errors import UserError
from nha.core.json_file import undefined_as_null, write_json
from nha.core.system import run_script
from nha.core.tables import Table
from nha.data.dataset_folder import DatasetFolder, read_labels, read_rgb
from nha.data.tracking_file import TrackingResult, find_tracking_file, read_tracking
from nha.evaluation.tracking_errors import face_columns, tracking_errors
from nha.evaluation.truth import Truth, read_truth
from nha.head.assets import HeadAssets
from nha.head.load import load_head
from nha.head.model import HeadModel
from nha.render.camera import project
from nha.render.rasterize import rasterize
from nha.tracking.frames import read_frames
from nha.tracking.outline_stage import head_yaw_deg

EARS = (Parsing.L_EAR, Parsing.R_EAR)
FACE = (
    Parsing.SKIN, Parsing.L_BROW, Parsing.R_BROW, Parsing.L_EYE, Parsing.R_EYE, Parsing.NOSE, Parsing.MOUTH,
    Parsing.U_LIP, Parsing.L_LIP,
)  # fmt: skip
NECK = (Parsing.NECK, Parsing.NECKLACE)
NOT_COMPARED = (Parsing.HAIR, Parsing.HEADWEAR, Parsing.CLOTH)
SMALLEST_EAR = 3e-4  # of the image: smaller parsed ears do not count as visible
# The distances that show an expression, each the mean over pairs of landmarks.
DISTANCES = {
    "lip_gap": ((62, 66),),
    "mouth_width": ((48, 54),),
    "lid_right": EYE_CLOSURE_PAIRS[:2],
    "lid_left": EYE_CLOSURE_PAIRS[2:],
    "brow_right": ((19, 36), (19, 39)),
    "brow_left": ((24, 42), (24, 45)),
}
PARTS = {"ear_mm": ("left_ear", "right_ear"), "skull_mm": ("scalp",), "neck_mm": ("neck",)}
BATCH_SIZE = 16


def main(argv: list[str] | None = None) -> None:
    """Measure a tracked dataset, or track synthetic people and measure them; print tables, write JSON if asked for."""
    parser = OptionParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, help="dataset folder")
    parser.add_argument("--tracking", type=Path, help="its tracking file, or the folder that holds it")
    parser.add_argument("--head", default=track_bench.HEAD, help="head model of the tracking")
    parser.add_argument("--every", type=int, default=10, help="compare each n-th frame with its parsing")
    parser.add_argument(
        "--largest-yaw", type=float, default=30.0, help="compare distances in frames up to this yaw, degrees"
    )
    parser.add_argument("--seeds", type=int, nargs="*", default=[], help="seeds of synthetic people to track")
    parser.add_argument("--frames", type=int, default=80, help="frames of each synthetic video")
    parser.add_argument("--size", type=int, default=256, help="side of the synthetic videos in pixels; even")
    parser.add_argument(
        "--landmarks",
        choices=track_bench.LANDMARKS,
        default="mediapipe",
        help="annotations of synthetic people: those of mediapipe, or the truth with noisy landmarks",
    )
    parser.add_argument("--overlays", type=Path, help="write images with the mesh's outlines there")
    parser.add_argument("--json", type=Path, help="write the rows there")
    arguments = parser.parse_args(argv)
    if (arguments.dataset is None) != (arguments.tracking is None):
        raise UserError("--dataset and --tracking belong together; name both")
    if arguments.dataset is None and not arguments.seeds:
        raise UserError("nothing to measure; name --dataset and --tracking, or --seeds")

    rows = []
    if arguments.dataset is not None:
        tracking = read_tracking(find_tracking_file(arguments.tracking))
        assets = load_head(arguments.head)
        rows.append(
            {"name": arguments.dataset.name}
            | coverage_row(arguments.dataset, tracking, assets, arguments.every, arguments.overlays)
            | distance_slopes(arguments.dataset, tracking, assets, arguments.largest_yaw)
        )
    for seed in arguments.seeds:
        rows += synthetic_rows(seed, arguments)
    for names in {tuple(row): None for row in rows}:
        cells = [tuple(row.values()) for row in rows if tuple(row) == names]
        print(Table(names, cells, digits=3).as_text() + "\n")
    if arguments.json:
        write_json(arguments.json, undefined_as_null(rows))


def synthetic_rows(seed: int, arguments: argparse.Namespace) -> list[dict[str, float | str]]:
    """Render and track one synthetic person: its rows of both tables."""
    assets = load_head(track_bench.HEAD)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        track_bench.draw_subject(folder, seed, arguments.frames, arguments.size, arguments.landmarks)
        tracking, _ = track_bench.track(folder, "batched", track_bench.HEAD)
        name, overlays = f"seed {seed}", arguments.overlays and arguments.overlays / str(seed)
        dataset = folder / "dataset"
        return [
            {"name": name}
            | coverage_row(dataset, tracking, assets, arguments.every, overlays)
            | distance_slopes(dataset, tracking, assets, arguments.largest_yaw),
            {"name": name} | truth_row(assets, tracking, read_truth(folder / "truth")),
        ]


# --- against the annotations -----------------------------------------------------------------------------


@dataclass(frozen=True)
class DrawnMesh:
    """What a mesh covers in one image: bool [H, W] each."""

    covered: np.ndarray
    ears: np.ndarray


def coverage_row(
    dataset: Path, tracking: TrackingResult, assets: HeadAssets, every: int, overlays: Path | None = None
) -> dict[str, float]:
    """The first table's figures of masks."""
    folder = DatasetFolder.open(dataset)
    ids = [int(i) for i in tracking.frame][::every]
    labels = [read_labels(folder.paths(i).parsing) for i in ids]
    drawn = draw_meshes(assets, tracking, ids, labels[0].shape)
    ear_ious = [
        iou(mesh.ears, np.isin(frame, EARS))
        for mesh, frame in zip(drawn, labels, strict=True)
        if np.isin(frame, EARS).mean() > SMALLEST_EAR
    ]
    pairs = list(zip(drawn, labels, strict=True))
    bare = [np.isin(frame, FACE + EARS) for frame in labels]
    uncovered = sum(int((mask & ~mesh.covered).sum()) for mask, mesh in zip(bare, drawn, strict=True))
    if overlays is not None:
        write_overlays(overlays, folder, ids, pairs)
    return {
        "ear_iou": float(np.mean(ear_ious)) if ear_ious else float("nan"),
        "ear_iou_min": float(np.min(ear_ious)) if ear_ious else float("nan"),
        "uncovered": uncovered / max(sum(int(mask.sum()) for mask in bare), 1),
        "outline_iou": float(np.mean([outline_iou(mesh, frame) for mesh, frame in pairs])),
    }


@torch.no_grad()
def draw_meshes(
    assets: HeadAssets, tracking: TrackingResult, ids: Sequence[int], size: tuple[int, int]
) -> list[DrawnMesh]:
    """The tracked mesh, without the lower neck, in images of `size` (height, width)."""
    head = HeadModel(assets, subdivisions=0, blur_sigma=None)
    in_ear = head.hard_labels[:, [head.part("left_ear"), head.part("right_ear")]].bool().any(1)
    ear_faces = in_ear[head.faces].sum(1) >= 2
    drawn = []
    for start in range(0, len(ids), BATCH_SIZE):
        batch = ids[start : start + BATCH_SIZE]
        screen = project(head(tracking.params_for(batch)), tracking.camera_for(batch, size))
        face = rasterize(screen, head.faces, size, layers=1, cull_back_faces=True).face_index[..., 0]
        covered = face >= 0
        ears = covered & ear_faces[face.clamp_min(0)]
        drawn += [DrawnMesh(c.numpy(), e.numpy()) for c, e in zip(covered, ears, strict=True)]
    return drawn


def iou(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two masks, 1 if both are empty."""
    return float((a & b).sum() / max((a | b).sum(), 1)) if (a | b).any() else 1.0


def outline_iou(mesh: DrawnMesh, labels: np.ndarray) -> float:
    """Intersection over union of the mesh with face, ears and neck, where these are visible."""
    rows = np.flatnonzero(mesh.covered.any(1))
    compared = ~np.isin(labels, NOT_COMPARED)
    compared[(rows[-1] if len(rows) else 0) + 1 :] = False
    return iou(mesh.covered & compared, np.isin(labels, FACE + EARS + NECK) & compared)


def distance_slopes(
    dataset: Path, tracking: TrackingResult, assets: HeadAssets, largest_yaw_deg: float
) -> dict[str, float]:
    """Slope and correlation of tracked against detected distances between landmarks."""
    frames = read_frames(dataset)
    rows = {frame_id: row for row, frame_id in enumerate(frames.frame_ids)}
    ids = [int(i) for i in tracking.frame]
    shown = (head_yaw_deg(tracking.params_for(ids)) <= largest_yaw_deg).tolist()
    usable = frames.has_landmarks.tolist()
    found = [column for column, i in enumerate(ids) if usable[rows[i]] and shown[column]]
    detected = frames.landmarks_px[[rows[ids[column]] for column in found]].numpy()
    tracked = track_bench.tracked_landmarks_px(tracking, assets)[found]
    figures = {}
    for name, pairs in DISTANCES.items():
        slope, correlation = line(_distances(detected, pairs), _distances(tracked, pairs))
        figures |= {name: slope, f"{name}_r": correlation}
    return figures


def line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope and correlation of y against x, both [F]."""
    covariance = np.cov(x, y)
    deviation = np.sqrt(covariance.diagonal()).clip(1e-12)
    slope, correlation = covariance[0, 1] / deviation[0] ** 2, covariance[0, 1] / deviation.prod()
    return float(slope), float(correlation)


def _distances(landmarks: np.ndarray, pairs: Sequence[tuple[int, int]]) -> np.ndarray:
    """Mean distance of pairs of landmarks [F, L, 2 or 3] over that of the outer eye corners: [F]."""
    first, second = np.array(pairs).T
    eyes = np.linalg.norm(landmarks[:, OUTER_EYE_CORNERS[0]] - landmarks[:, OUTER_EYE_CORNERS[1]], axis=-1)
    return np.linalg.norm(landmarks[:, first] - landmarks[:, second], axis=-1).mean(1) / eyes


def write_overlays(
    folder: Path, dataset: DatasetFolder, ids: Sequence[int], pairs: Sequence[tuple[DrawnMesh, np.ndarray]]
) -> None:
    """Write each frame with outlines: the mesh white, its ears red, the parsed ears green, the parsed neck blue."""
    folder.mkdir(parents=True, exist_ok=True)
    for frame_id, (mesh, labels) in zip(ids, pairs, strict=True):
        bgr = cv2.resize(read_rgb(dataset.paths(frame_id).image)[..., ::-1], None, fx=3, fy=3)
        outlines = (
            (np.isin(labels, NECK), (255, 0, 0)),
            (np.isin(labels, EARS), (0, 255, 0)),
            (mesh.covered, (255, 255, 255)),
            (mesh.ears, (0, 0, 255)),
        )
        for mask, colour in outlines:
            large = cv2.resize(mask.astype(np.uint8), bgr.shape[1::-1], interpolation=cv2.INTER_NEAREST)
            contours, _ = cv2.findContours(large, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(bgr, contours, -1, colour, 1)
        cv2.imwrite(str(folder / f"{frame_id:04d}.png"), bgr)


# --- against the truth -----------------------------------------------------------------------------------


@torch.no_grad()
def truth_row(assets: HeadAssets, tracking: TrackingResult, truth: Truth) -> dict[str, float]:
    """The second table's figures of a tracked synthetic person."""
    head = HeadModel(assets, subdivisions=0, blur_sigma=None)
    ids = [int(i) for i in tracking.frame]
    vertices = head(tracking.params_for(ids)).numpy().astype(np.float64)
    true = truth.vertices[truth.tracking.rows_of(ids)].astype(np.float64)
    vertex_ids = head.kept_vertices.numpy()
    face, true_face = face_columns(assets, vertex_ids, truth)
    aligned = align(vertices[:, face], true[:, true_face], with_scale=True).apply(vertices)
    true_column = {vertex: column for column, vertex in enumerate(truth.vertex_ids.tolist())}
    figures = {}
    for name, parts in PARTS.items():
        chosen = set(np.concatenate([assets.parts[part] for part in parts]).tolist()) & set(true_column)
        columns = [column for column, vertex in enumerate(vertex_ids.tolist()) if vertex in chosen]
        true_columns = [true_column[vertex_ids[column]] for column in columns]
        distance = np.linalg.norm(aligned[:, columns] - true[:, true_columns], axis=-1)
        figures[name] = 1000 * float(np.median(distance.mean(1)))
    true_head, own_head = (
        head.landmarks(head(t.params_for(ids))).numpy() for t in (truth.tracking, tracking)
    )
    for name, pairs in DISTANCES.items():
        figures[f"{name}_true"] = line(_distances(true_head, pairs), _distances(own_head, pairs))[0]
    rotation = tracking_errors(assets, tracking, truth)["rotation_deg"]
    return figures | {
        "rotation_deg_median": float(np.median(rotation)),
        "rotation_deg_p95": float(np.percentile(rotation, 95)),
    }


if __name__ == "__main__":
    run_script(main)
