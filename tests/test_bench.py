"""The benchmark scripts import without optional packages, and their synthetic batch is complete."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch

from bench import synthetic_batch
from tests.blocked_packages import WITHOUT_OPTIONAL

IMPORTS = """
sys.path[:0] = {paths!r}
import bench, gpu_check, op_count, parity, raster_bench
"""


def test_benchmarks_import_without_optional_packages(repository: Path) -> None:
    code = WITHOUT_OPTIONAL + IMPORTS.format(paths=[str(repository), str(repository / "benchmarks")])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_synthetic_batch_shows_the_head(head) -> None:
    batch = synthetic_batch(head, n=2, size=32)
    assert len(batch) == 2
    assert batch.rgb01.shape == (2, 3, 32, 32)
    covered = (batch.segmentation > 0).float().mean()
    assert 0.1 < covered < 0.9
    assert not batch.normals[:, :, 0, 0].any()  # the background has none
    assert torch.equal(batch.frame_id, torch.arange(2))
