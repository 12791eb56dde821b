"""Benchmark of the estimators: it runs, and its figures are correct on known labels."""

from __future__ import annotations

import json

import numpy as np
import pytest

import preprocess_bench
from nha.core.conventions import Parsing
from nha.data.video_io import VideoWriter

SPEED = {"estimators", "of", "frames", "frames_per_second", "cpu_ms_per_frame", "peak_memory_mb"}
LABELS = {"matte_iou", "changes_beyond_truth", "flips"} | {f"{name}_iou" for name in preprocess_bench.CLASSES}
NORMALS = {"normals_deg_mean", "normals_deg_median", "normals_found"}
POINTS = {"landmarks", "landmarks_jaw", "landmarks_inner", "irises", "irises_found"}


def walking_band(n: int, label: int = Parsing.HAIR) -> list[np.ndarray]:
    """Labels: skin, on which a band of 4 x 20 pixels walks to the right by a pixel a frame."""
    frames = np.full((n, 20, 40), Parsing.SKIN, np.uint8)
    for i, labels in enumerate(frames):
        labels[:, 8 + i : 12 + i] = label
    return list(frames)


def test_overlap_is_intersection_over_union():
    found, true = walking_band(1), walking_band(2)[1:]
    assert preprocess_bench.class_overlap(found, true, (Parsing.HAIR,)) == pytest.approx(3 / 5)
    assert preprocess_bench.class_overlap(found, true, (Parsing.CLOTH,)) is None
    assert preprocess_bench.overlap([labels > 0 for labels in found], [labels > 0 for labels in true]) == 1


def test_motion_is_no_flicker_and_flicker_is():
    true = walking_band(9)
    assert preprocess_bench.changes_beyond_truth(true, true) == 0
    assert preprocess_bench.flips(true) == 0
    found = [labels.copy() for labels in true]
    found[4][:10, 30:34] = Parsing.NECK  # far from the band, in one frame
    assert preprocess_bench.changes_beyond_truth(found, true) == pytest.approx(2 * 40 / (8 * 800))
    assert preprocess_bench.flips(found) == pytest.approx(40 / (7 * 800))


def test_shares_are_of_the_head():
    labels = walking_band(2)
    labels[1][:10] = Parsing.CLOTH
    shares = preprocess_bench.shares(labels)
    assert shares["hair_share"] == pytest.approx(0.1)
    assert shares["hair_step"] == pytest.approx(0)
    assert shares["cloth_share"] == pytest.approx(0.5)  # in units of the head, of which it is no part


@pytest.mark.slow
def test_truth_against_itself_is_without_error(run_script, tmp_path):
    options = ("--seeds", "2", "--frames", "4", "--size", "64", "--estimators", "truth")
    run = run_script("benchmarks/preprocess_bench.py", *options, "--json", tmp_path / "rows.json")
    assert run.returncode == 0, run.stderr[-2000:]
    (row,) = json.loads((tmp_path / "rows.json").read_text())
    assert set(row) == SPEED | LABELS | NORMALS | POINTS
    assert "truth 2" in run.stdout
    assert row["frames"] == 4
    assert row["frames_per_second"] > 0
    assert 50 < row["peak_memory_mb"] < 5000
    assert all(row[f"{name}_iou"] in (1, None) for name in preprocess_bench.CLASSES)
    assert row["matte_iou"] > 0.95  # labels end at whole pixels
    assert row["changes_beyond_truth"] == 0
    assert row["normals_deg_mean"] < 1
    assert row["normals_found"] > 0.9
    assert row["landmarks"] < 1e-4


@pytest.mark.slow
def test_a_video_without_truth(run_script, tmp_path):
    pytest.importorskip("mediapipe", exc_type=ImportError)
    with VideoWriter(tmp_path / "room.mp4") as writer:
        writer.write(np.full((64, 64, 3), 90, np.uint8))
    run = run_script("benchmarks/preprocess_bench.py", "--video", tmp_path / "room.mp4", "--size", "64")
    assert run.returncode == 2
    assert run.stderr.strip().splitlines()[-1].startswith("error: no face was found in any of the 1 frames")
