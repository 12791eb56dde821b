"""The tracker's benchmark: landmark errors are as documented, and the script writes its rows."""

from __future__ import annotations

import json

import numpy as np
import pytest

import track_bench
from nha.core.conventions import LANDMARK_GROUPS
from nha.data.dataset_folder import Keypoints

ROW = {
    "seed",
    "mode",
    "rotation_deg_median",
    "rotation_deg_p95",
    "translation_mm",
    "landmark_px",
    "vertex_mm",
    "expr_correlation",
    "jitter_px",
    "seconds_per_frame",
}


def test_landmarks_get_the_documented_errors():
    points = np.random.default_rng(0).uniform(0, 100, (68, 2)).astype(np.float32)
    points[36], points[45] = (10, 50), (110, 50)  # 100 pixels apart
    ones = np.ones(68, np.float32)
    keypoints = Keypoints(points, ones, ones, points[:2], np.zeros(4, np.float32), "test")
    generator = np.random.default_rng(1)
    moved = np.stack(
        [track_bench.add_landmark_errors(keypoints, generator).landmarks_px - points for _ in range(3000)]
    )
    wrong = np.abs(moved).max((1, 2)) > 30
    assert 0.01 < wrong.mean() < 0.03
    jaw = list(LANDMARK_GROUPS["jaw"])
    right = moved[~wrong]
    assert right[:, jaw].std() == pytest.approx(3.0, rel=0.02)
    assert np.delete(right, jaw, 1).std() == pytest.approx(1.0, rel=0.02)


@pytest.mark.slow
def test_the_script_writes_its_rows(run_script, tmp_path):
    options = ("--seeds", "2", "--frames", "8", "--size", "64", "--mode", "batched")
    run = run_script("benchmarks/track_bench.py", *options, "--json", tmp_path / "rows.json")
    assert run.returncode == 0, run.stderr[-2000:]
    (row,) = json.loads((tmp_path / "rows.json").read_text())
    assert set(row) == ROW
    assert row["mode"] in run.stdout
    assert 0 < row["rotation_deg_median"] <= row["rotation_deg_p95"] < 90
