"""Times, launches and memory of an image and of training steps."""

from __future__ import annotations

import argparse
import gc
from collections.abc import Callable

import torch

import bench
from bench import measure_figures
from gpu_checks.table import Aim

TIMES = [
    Aim("image", 2.5, "ms"),
    Aim("images a second on the host (viewer)", 200, "1/s", at_least=True),
    Aim("rasterise 2 frames", 0.4, "ms"),
    Aim("geometry step, 16 frames", 15, "ms"),
    Aim("texture step, 2 frames", 6, "ms"),
    Aim("joint step, 2 frames", 10, "ms"),
    Aim("building the model", 3, "s"),
]
MEMORY = [Aim("peak memory of a joint step", 6, "GiB")]
LAUNCHES = [
    Aim(f"{name}: {quantity}", aim, unit)
    for name, launches in (("image", 250), ("joint step", 900))
    for quantity, aim, unit in (
        ("kernel launches", launches, "launches"),
        ("host synchronisations", 0, ""),
    )
]
WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize")
LAUNCH_CALLS = (
    "cudaLaunchKernel",
    "cudaLaunchKernelExC",
    "cuLaunchKernel",
    "cuLaunchKernelEx",
    "cudaGraphLaunch",
)


class Speed:
    """Measures with `bench.py`'s functions and keeps what the profile needs."""

    def __init__(self, head: str, size: int, device: str, repeats: int, geometry_frames: int = 16) -> None:
        self.options = argparse.Namespace(
            head=head, size=size, device=device, repeats=repeats, batch=2, stages=("texture", "joint")
        )
        self.geometry_frames = geometry_frames
        self.work: dict[str, Callable[[], object]] = {}
        self.peak_memory_mb = float("nan")

    def times(self) -> dict[str, float]:
        """The figures of TIMES."""
        figures, self.work = measure_figures(self.options)
        self.peak_memory_mb = figures["peak_memory_mb"]
        device = bench.pick_device(self.options.device)
        to_host = bench.timed(lambda: _on_host(self.work["inference_s"]()), self.options.repeats, device)
        many = argparse.Namespace(
            **vars(self.options) | {"batch": self.geometry_frames, "stages": ("geometry",)}
        )
        geometry, _ = measure_figures(many)
        gc.collect()
        return {
            "image": 1e3 * figures["inference_s"],
            "images a second on the host (viewer)": 1 / sorted(to_host)[len(to_host) // 2],
            "rasterise 2 frames": figures["rasterize_ms"],
            "geometry step, 16 frames": 1e3 * geometry["geometry_step_s"],
            "texture step, 2 frames": 1e3 * figures["texture_step_s"],
            "joint step, 2 frames": 1e3 * figures["joint_step_s"],
            "building the model": figures["init_s"],
        }

    def memory(self) -> dict[str, float]:
        """The figure of MEMORY, after `times`."""
        return {MEMORY[0].name: self.peak_memory_mb / 1024}

    def launches(self) -> dict[str, float]:
        """The figures of LAUNCHES from torch's profiler, after `times`."""
        figures = {}
        for name, key in (("image", "inference_s"), ("joint step", "joint_step_s")):
            launched, waited = profile(self.work[key])
            figures[f"{name}: kernel launches"] = launched
            figures[f"{name}: host synchronisations"] = waited
        return figures


def _on_host(rgba: torch.Tensor) -> torch.Tensor:
    return (rgba * 255).to(torch.uint8).cpu()


def profile(function: Callable[[], object]) -> tuple[int, int]:
    """Numbers of kernel launches and of waits for the device in one call, after one that is not counted."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as torch_profile

    function()
    torch.cuda.synchronize()
    with torch_profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as recorded:
        function()
    counts = {event.key: event.count for event in recorded.key_averages()}
    launched = sum(counts.get(name, 0) for name in LAUNCH_CALLS)
    return launched, sum(counts.get(name, 0) for name in WAITS)
