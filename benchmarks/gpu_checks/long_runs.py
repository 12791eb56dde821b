"""Parity, training and tracking: the parts that need folders of data."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from gpu_checks.table import Aim
from nha.core.errors import UserError
from nha.core.json_file import read_json
from nha.data.frame_dataset import FrameSplits
from nha.data.settings import DataSettings
from nha.optimization.config import OptimizationSettings
from nha.optimization.run import optimize_avatar

PARITY = [Aim("parity: rows that fail", 0, "rows")]
TRAINING = {
    "published": [
        Aim("training: joint step in a real run", 12, "ms"),
        Aim("training: geometry step in a real run", 18, "ms"),
    ],
    "blend": [
        Aim("blend training: joint step in a real run", 7, "ms"),
        Aim("blend training: geometry step in a real run", 7, "ms"),
    ],
}
TRACKING = [Aim("tracking", 30, "frames/s", at_least=True)]

BENCHMARKS = Path(__file__).resolve().parent.parent
TIMEOUT_S = 100


def parity(
    golden: Path | None, tracker: Path | None, networks: Path | None, assets: Path | None, cuda: bool
) -> dict[str, float]:
    """The figure of PARITY, from `parity.py` in a process of its own, which sets the precision.

    Raises:
        UserError: parity.py wrote no report; the message is the end of its output.
    """
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "parity.json"
        command = [sys.executable, str(BENCHMARKS / "parity.py"), "--json", str(report)]
        command += ["--backend", "triton" if cuda else "auto"]
        folders = {"--golden": golden, "--tracker": tracker, "--networks": networks, "--assets": assets}
        for option, folder in folders.items():
            if folder is not None:
                command += [option, str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        if not report.is_file():
            raise UserError((done.stderr or done.stdout).strip()[-300:])
        failed = [row["name"] for row in read_json(report) if not row["pass"]]
    for name in failed:
        print(f"    parity: {name}")
    return {PARITY[0].name: float(len(failed))}


def training(
    model: str, dataset: Path, tracking: Path, head: str, device: str, seconds: float
) -> dict[str, float]:
    """The figures of TRAINING of a model: milliseconds a step with loading, logging and held-out fits.

    A first run of one epoch of each stage warms up and says how many epochs fit into the time.
    """
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        settings = OptimizationSettings.from_ini(
            {"published": "optimize_avatar", "blend": "blend"}[model],
            default_root_dir=Path(scratch) / "first",
            head=head,
            device=device,
            data_path=dataset,
            tracking_results_path=tracking,
            split_config=None,
            frame_cache=Path(scratch) / "cache",
            schedule_frames=0,
            epochs_offset=1,
            epochs_texture=0,
            epochs_joint=1,
            held_out_steps=1,
            perceptual="none",
        )
        first = optimize_avatar(settings)
        left = seconds - (time.perf_counter() - start)
        epochs = max(int(left / max(sum(first.stage_seconds.values()), 0.1)), 1)
        second = replace(
            settings,
            run=replace(settings.run, default_root_dir=Path(scratch) / "second"),
            schedule=replace(settings.schedule, epochs_offset=epochs, epochs_joint=epochs),
        )
        result = optimize_avatar(second)
    steps = _steps_of_an_epoch(settings.data)
    return {
        aim.name: 1e3 * result.stage_seconds[stage] / (epochs * steps[index])
        for aim, stage, index in zip(TRAINING[model], ("joint", "geometry"), (2, 0), strict=True)
    }


def _steps_of_an_epoch(data: DataSettings) -> list[int]:
    n = len(FrameSplits(data).train)
    return [-(-n // size) for size in data.train_batch_size]


def tracked(dataset: Path, head: str, device: str) -> dict[str, float]:
    """The figure of TRACKING: frames a second of the batched tracker over the whole dataset."""
    # imported here: the tracker writes a video, and a machine for the other parts need not have PyAV
    from nha.tracking.settings import TrackingSettings
    from nha.tracking.tracker import track_dataset

    with tempfile.TemporaryDirectory() as scratch:
        start = time.perf_counter()
        result = track_dataset(
            TrackingSettings(data_path=dataset, output_path=Path(scratch), head=head, device=device)
        )
        seconds = time.perf_counter() - start
    return {TRACKING[0].name: len(result.result.frame) / seconds}
