"""How long a run will take on this machine and what it needs, before it starts.

The seconds of a frame or a step were measured on one core of the reference machine (`docs/decisions.md`); a short piece
of work says how fast this machine is compared with it.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from nha.core.device import pick_device
from nha.core.errors import UserError
from nha.core.optional_files import INSTALL_MEDIAPIPE
from nha.core.progress import duration
from nha.optimization.config import OptimizationSettings
from nha.pipeline.settings import MakeSettings
from nha.preprocess.registry import needed_packages

# Seconds of `_probe` on the reference core; the others were measured beside it, with frames of 123 x 160 to 394 x 512.
PROBE_S = 0.065
# Part -> seconds at its start; seconds of one frame, step or view, and those for each of its megapixels.
RATES: dict[str, tuple[float, float, float]] = {
    "dataset": (1.0, 0.022, 0.25),
    "tracking": (11.0, 0.40, 1.8),
    "geometry step": (2.0, 0.055, 1.45),
    "texture step": (0.0, 0.028, 0.78),
    "joint step": (0.0, 0.048, 1.45),
    "held-out step": (0.0, 0.03, 1.1),
    "evaluation": (0.9, 0.008, 2.1),
    "novel view": (0.0, 0.022, 0.58),
    "turntable view": (0.0, 0.008, 0.21),
    "export": (1.9, 0.005, 0.0),
}
SOURCE_S = 0.1  # of the dataset, for each megapixel of the video's own frames
NOVEL_VIEWS = 50  # frames, see EvaluationSettings
# Building the model; a step of any stage: measured at 512 x 512, 6 ms (geometry) to 18 ms (joint).
CUDA_START_S, CUDA_STEP_S = 13.0, 0.02
HELD_OUT_SHARE, HELD_OUT_BATCH = 0.2, 4
HEAD_ASPECT = 0.77  # shorter over longer edge of frames that are cropped to a head

# Bytes for each pixel of a frame (images, annotations, cache, videos), for each pixel of a frame's size (checkpoints),
# and of what depends on neither; the same for the largest use of memory.
DISK_BYTES, TEXTURE_BYTES, FIXED_BYTES = 14, 510, 40e6
MEMORY_BYTES, MEMORY_BYTES_PER_PIXEL = 1.0e9, 6300


@dataclass(frozen=True)
class Estimate:
    """What a run will take.

    Attributes:
        seconds: by part, on this machine.
        disk_bytes, free_bytes: needed, and free in the output folder.
        memory_bytes: needed in main memory; available_bytes: what is free, None where unknown.
        device: the device of tracking and training.
        speed: of this machine, 1 is a core of the reference machine.
        packages: optional packages that the run uses.
    """

    seconds: Mapping[str, float]
    disk_bytes: float
    free_bytes: float
    memory_bytes: float
    available_bytes: float | None
    device: str
    speed: float
    packages: tuple[str, ...] = ()

    @property
    def total(self) -> float:
        """All seconds."""
        return sum(self.seconds.values())

    def lines(self) -> list[str]:
        """The estimate as text."""
        parts = ", ".join(f"{part} {duration(seconds)}" for part, seconds in self.seconds.items())
        cores = os.cpu_count() or 1
        memory = "" if self.available_bytes is None else f" ({_size_text(self.available_bytes)} free)"
        packages = "".join(f", {package} (installed)" for package in self.packages)
        too_little = self.available_bytes is not None and self.available_bytes < self.memory_bytes
        warning = ["warning: memory may be too little; a lower --quality needs less"] if too_little else []
        return [
            f"time here: about {duration(self.total)} ({parts}), on {self.device} with {cores} cores, "
            f"{self.speed:.1f} times as fast as one reference core",
            f"needs: {_size_text(self.disk_bytes)} of disk ({_size_text(self.free_bytes)} free), "
            f"{_size_text(self.memory_bytes)} of memory{memory}{packages}",
            *warning,
        ]


def estimate(
    settings: MakeSettings, training: OptimizationSettings, n_frames: int, video_size: tuple[int, int]
) -> Estimate:
    """Estimate a run.

    Args:
        settings: of the run.
        training: of its training.
        n_frames: number of frames that it uses.
        video_size: width and height of the video in pixels.
    """
    quality = settings.values
    aspect = HEAD_ASPECT if settings.crop_to_head == "true" else min(video_size) / max(video_size)
    pixels = quality.scale**2 * aspect
    device = pick_device(settings.device).type
    speed = PROBE_S / _probe()
    steps = _training_steps(training, n_frames)
    seconds = _reference_seconds(steps, n_frames, pixels / 1e6, quality.turntable)
    seconds["dataset"] += n_frames * SOURCE_S * video_size[0] * video_size[1] / 1e6
    seconds = {part: value / speed for part, value in seconds.items()}
    if device == "cuda":
        seconds["training"] = CUDA_START_S + CUDA_STEP_S * sum(steps.values())
    return Estimate(
        seconds=seconds,
        disk_bytes=pixels * (n_frames * DISK_BYTES + TEXTURE_BYTES) + FIXED_BYTES,
        free_bytes=shutil.disk_usage(_existing(settings.folder)).free,
        memory_bytes=MEMORY_BYTES + pixels * MEMORY_BYTES_PER_PIXEL,
        available_bytes=_available_memory(),
        device=device,
        speed=speed,
        packages=tuple(needed_packages(settings.estimators)),
    )


def require_packages(settings: MakeSettings) -> None:
    """Raise UserError where a package that the chosen estimators need is not installed."""
    needed = needed_packages(settings.estimators)
    if missing := [package for package, is_installed in needed.items() if not is_installed]:
        raise UserError(
            f"{settings.estimators} estimators need {' and '.join(missing)}, not installed here: `make env` installs "
            f"mediapipe, and so does {INSTALL_MEDIAPIPE}; see Installation in README.md"
        )


def require_room(result: Estimate, folder: Path) -> None:
    """Raise UserError where the disk is too small."""
    if result.disk_bytes > result.free_bytes:
        raise UserError(
            f"'{folder}' needs about {_size_text(result.disk_bytes)}, but only {_size_text(result.free_bytes)} are "
            "free: make room, choose another --out, or use fewer frames (--max_frames)"
        )


def _reference_seconds(
    steps: Mapping[str, int], n_frames: int, megapixels: float, n_turntable: int
) -> dict[str, float]:
    """Seconds by part on the reference core."""

    def seconds(name: str, count: int) -> float:
        start, constant, per_megapixel = RATES[name]
        return start + count * (constant + per_megapixel * megapixels)

    return {
        "dataset": seconds("dataset", n_frames),
        "tracking": seconds("tracking", n_frames),
        "training": sum(seconds(f"{name} step", count) for name, count in steps.items()),
        "evaluation": seconds("evaluation", n_frames)
        + seconds("novel view", min(n_frames, NOVEL_VIEWS))
        + seconds("turntable view", n_turntable),
        "export": seconds("export", n_frames),
    }


def _training_steps(training: OptimizationSettings, n_frames: int) -> dict[str, int]:
    """Steps of the stages and of the fit of the held-out frames."""
    n_held_out = round(n_frames * HELD_OUT_SHARE)
    n_training = n_frames - n_held_out
    schedule = training.schedule.for_frames(n_training)
    epochs = (schedule.epochs_offset, schedule.epochs_texture, schedule.epochs_joint)
    steps = {
        name: count * -(-n_training // batch)
        for name, count, batch in zip(
            ("geometry", "texture", "joint"), epochs, training.data.train_batch_size, strict=True
        )
    }
    return {**steps, "held-out": schedule.held_out_steps * -(-n_held_out // HELD_OUT_BATCH)}


def _probe() -> float:
    """Seconds of a fixed piece of work like that of the training: gathers, sines, products."""
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(1 << 19, generator=generator)
    index = torch.randint(len(values), values.shape, generator=generator)
    matrix = values.view(512, -1)
    best = float("inf")
    for _ in range(3):  # the first one starts threads
        start = time.perf_counter()
        for _ in range(8):
            values = values[index].sin_().add_(0.1)
            matrix @ matrix.T
        best = min(best, time.perf_counter() - start)
    return best


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    folder = folder.absolute()
    return next(path for path in (folder, *folder.parents) if path.exists())


def _available_memory() -> float | None:
    try:
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):  # not on every system
        return None


def _size_text(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
