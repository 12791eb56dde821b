"""The benchmark of the tracked shape: its measures, and the script's rows."""

from __future__ import annotations

import json

import numpy as np
import pytest

import shape_bench
from nha.core.conventions import Parsing


def test_outline_iou_leaves_out_hair_clothes_and_what_is_below_the_mesh():
    labels = np.zeros((10, 10), np.uint8)
    labels[2:8, 2:8] = Parsing.SKIN
    labels[0:2] = Parsing.HAIR
    labels[8:] = Parsing.NECK
    covered = np.zeros((10, 10), bool)
    covered[0:8, 2:8] = True
    mesh = shape_bench.DrawnMesh(covered, np.zeros_like(covered))
    assert shape_bench.outline_iou(mesh, labels) == 1.0
    covered[2:8, 2:5] = False
    assert shape_bench.outline_iou(mesh, labels) == pytest.approx(0.5)


def test_iou():
    a, b = np.array([True, True, False]), np.array([False, True, True])
    assert shape_bench.iou(a, b) == pytest.approx(1 / 3)
    assert shape_bench.iou(a & False, b & False) == 1.0


def test_slope_and_correlation():
    x = np.array([1.0, 2.0, 3.0])
    assert shape_bench.line(x, 0.5 * x + 7) == pytest.approx((0.5, 1.0))
    assert shape_bench.line(x, np.array([1.0, 0.0, 1.0])) == pytest.approx((0.0, 0.0))


@pytest.mark.slow
def test_the_script_writes_its_rows(run_script, tmp_path):
    options = ("--seeds", "2", "--frames", "8", "--size", "64", "--landmarks", "noisy")
    run = run_script("benchmarks/shape_bench.py", *options, "--json", tmp_path / "rows.json")
    assert run.returncode == 0, run.stderr[-2000:]
    coverage, truth = json.loads((tmp_path / "rows.json").read_text())
    assert 0 <= coverage["ear_iou_min"] <= coverage["ear_iou"] <= 1
    assert 0 < coverage["outline_iou"] <= 1
    slopes = {f"{name}_true" for name in shape_bench.DISTANCES}
    assert {*shape_bench.DISTANCES, *(f"{name}_r" for name in shape_bench.DISTANCES)} < coverage.keys()
    assert truth.keys() == {"name", *shape_bench.PARTS, "rotation_deg_median", "rotation_deg_p95", *slopes}
    assert all(0 < truth[name] < 50 for name in shape_bench.PARTS)
