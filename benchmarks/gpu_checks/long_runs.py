"""Parity, training and tracking: the parts that need folders of data."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from checkout import ROOT
from gpu_checks.table import Aim
from nha.avatar.base import HeadAvatar
from nha.avatar.image_renderer import render_images
from nha.avatar.open import load_avatar
from nha.core.device import set_precision
from nha.core.errors import UserError
from nha.core.json_file import read_json
from nha.data.frame_dataset import FrameSplits
from nha.data.settings import DataSettings
from nha.losses.masks import whiten_background
from nha.optimization.config import OptimizationSettings
from nha.optimization.run import optimize_avatar

PARITY = [Aim("parity: rows that fail", 0, "rows")]
TRAINING = {
    "published": [
        Aim("training: joint step in a real run", 12, "ms"),
        Aim("training: geometry step in a real run", 18, "ms"),
        Aim("training: joint epoch, relative to its steps alone", 1.15, ""),
    ],
    "blend": [
        Aim("blend training: joint step in a real run", 7, "ms"),
        Aim("blend training: geometry step in a real run", 7, "ms"),
    ],
}
PRECISIONS = ("highest", "high", "medium")
PRECISION = [
    Aim("held-out PSNR of a short run, highest", 0, "dB", at_least=True),
    *(Aim(f"held-out PSNR lost with --precision {name}", 0.05, "dB") for name in PRECISIONS[1:]),
]
EPOCHS_OF_PRECISION = 4
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
        paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        environment = {**os.environ, "PYTHONPATH": paths}
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False, env=environment
        )
        if not report.is_file():
            raise UserError((done.stderr or done.stdout).strip()[-300:])
        failed = [row["name"] for row in read_json(report) if not row["pass"]]
    for name in failed:
        print(f"    parity: {name}")
    return {PARITY[0].name: float(len(failed))}


def training(
    model: str,
    data: tuple[Path, Path],
    head: str,
    device: str,
    seconds: float,
    joint_step_ms: Callable[[], float] = lambda: float("nan"),
) -> dict[str, float]:
    """The figures of TRAINING of a model: milliseconds a step with loading, logging and held-out fits.

    A first run of one epoch of each stage warms up and says how many epochs fit into the time. The difference of both
    runs is that of epochs without start, warm-up and recording.

    Args:
        model: published or blend.
        data: dataset folder and tracking file.
        head, device: settings of the run.
        seconds: for both runs together.
        joint_step_ms: time of a joint step alone, for the last row of the published model.
    """
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        settings = _run_settings(model, data, head, device, Path(scratch))
        first = optimize_avatar(settings)
        left = seconds - (time.perf_counter() - start)
        epochs = max(int(left / max(sum(first.stage_seconds.values()), 0.1)), 2)
        second = optimize_avatar(_with_epochs(settings, epochs, Path(scratch) / "second"))
    steps = _steps_of_an_epoch(settings.data)
    figures = [
        1e3 * second.stage_seconds[stage] / (epochs * steps[index])
        for stage, index in (("joint", 2), ("geometry", 0))
    ]
    if len(TRAINING[model]) > len(figures):
        added = second.stage_seconds["joint"] - first.stage_seconds["joint"]
        figures.append(1e3 * added / ((epochs - 1) * steps[2]) / joint_step_ms())
    return dict(zip([aim.name for aim in TRAINING[model]], figures, strict=True))


def _run_settings(
    model: str, data: tuple[Path, Path], head: str, device: str, scratch: Path
) -> OptimizationSettings:
    """A run of one epoch of the geometry and of the joint stage."""
    return OptimizationSettings.from_ini(
        {"published": "optimize_avatar", "blend": "blend"}[model],
        default_root_dir=scratch / "first",
        head=head,
        device=device,
        data_path=data[0],
        tracking_results_path=data[1],
        split_config=None,
        frame_cache=scratch / "cache",
        schedule_frames=0,
        epochs_offset=1,
        epochs_texture=0,
        epochs_joint=1,
        held_out_steps=1,
        perceptual="none",
    )


def _with_epochs(settings: OptimizationSettings, epochs: int, output: Path) -> OptimizationSettings:
    return replace(
        settings,
        run=replace(settings.run, default_root_dir=output),
        schedule=replace(settings.schedule, epochs_offset=epochs, epochs_joint=epochs),
    )


def held_out_psnr(
    data: tuple[Path, Path], head: str, device: str, epochs: int = EPOCHS_OF_PRECISION
) -> dict[str, float]:
    """The figures of PRECISION: PSNR of held-out frames by precision, and the differences to float32."""
    found = {}
    try:
        for precision in PRECISIONS:
            with tempfile.TemporaryDirectory() as scratch:
                settings = _run_settings("published", data, head, device, Path(scratch))
                settings = _with_epochs(settings, epochs, Path(scratch) / "run")
                settings = replace(settings, run=replace(settings.run, precision=precision))
                result = optimize_avatar(settings)
                set_precision("highest")
                avatar = load_avatar(result.avatar_path, head, device)
                found[precision] = _mean_psnr(avatar, FrameSplits(settings.data))
    finally:
        set_precision("highest")
    lost = [found["highest"] - found[precision] for precision in PRECISIONS[1:]]
    return dict(zip([aim.name for aim in PRECISION], (found["highest"], *lost), strict=True))


def _mean_psnr(avatar: HeadAvatar, splits: FrameSplits) -> float:
    """Mean PSNR of the held-out frames on white, in dB."""
    values = []
    for i in range(len(splits.val)):
        frame = splits.val.batch([i]).to(avatar.device)
        image = render_images(avatar, frame.tracked, frame.camera, frame_ids=frame.frame_id).rgb01
        error = (image - whiten_background(frame.rgb01, frame.segmentation)).square().mean()
        values.append(-10 * error.log10().item())
    return sum(values) / len(values)


def _steps_of_an_epoch(data: DataSettings) -> list[int]:
    n = len(FrameSplits(data).train)
    return [-(-n // size) for size in data.train_batch_size]


def tracked(dataset: Path, head: str, device: str) -> dict[str, float]:
    """The figure of TRACKING: frames a second of the batched tracker over the whole dataset."""
    from nha.tracking.settings import TrackingSettings
    from nha.tracking.tracker import track_dataset

    with tempfile.TemporaryDirectory() as scratch:
        start = time.perf_counter()
        result = track_dataset(
            TrackingSettings(
                data_path=dataset, output_path=Path(scratch), head=head, device=device, video=False
            )
        )
        seconds = time.perf_counter() - start
    return {TRACKING[0].name: len(result.result.frame) / seconds}
