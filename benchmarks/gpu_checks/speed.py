"""Times, launches and memory of an image and of training steps."""

from __future__ import annotations

import argparse
import gc
from collections.abc import Callable, Sequence

import torch

import bench
from bench import measure_figures
from gpu_checks.table import Aim
from nha.core.device import set_precision
from nha.nets.fused_siren import fused_networks

TIMES = [
    Aim("image", 2.5, "ms"),
    Aim("images a second on the host (viewer)", 200, "1/s", at_least=True),
    Aim("rasterise 2 frames", 0.4, "ms"),
    Aim("geometry step, 16 frames", 15, "ms"),
    Aim("texture step, 2 frames", 6, "ms"),
    Aim("joint step, 2 frames", 10, "ms"),
    Aim("building the model", 3, "s"),
]
BLEND_TIMES = [
    Aim("blend: image", 1.5, "ms"),
    Aim("blend: geometry step, 4 frames", 6, "ms"),
    Aim("blend: joint step, 4 frames", 6, "ms"),
]
PRECISIONS = ("high", "medium")
PRECISION_TIMES = [
    Aim(f"{name} with --precision {precision}", aim, "ms")
    for precision in PRECISIONS
    for name, aim in (("image", 2.5), ("joint step, 2 frames", 10))
]
FUSED_TIMES = [
    Aim("image with --fused_networks", 2.5, "ms"),
    Aim("joint step, 2 frames, with --fused_networks", 10, "ms"),
]
EAGER_TIMES = [
    Aim("image, without graphs", 20, "ms"),
    Aim("joint step, 2 frames, without graphs", 64, "ms"),
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
            head=head,
            size=size,
            device=device,
            repeats=repeats,
            batch=2,
            stages=("texture", "joint"),
            model="published",
            eager=False,
        )
        self.geometry_frames = geometry_frames
        self.work: dict[str, Callable[[], object]] = {}
        self.peak_memory_mb = self.joint_step_s = float("nan")

    def times(self) -> dict[str, float]:
        """The figures of TIMES."""
        figures, self.work = measure_figures(self.options)
        self.peak_memory_mb, self.joint_step_s = figures["peak_memory_mb"], figures["joint_step_s"]
        device = bench.pick_device(self.options.device)
        to_host = bench.timed(lambda: _on_host(self.work["inference_s"]()), self.options.repeats, device)
        geometry = self._figures(batch=self.geometry_frames, stages=("geometry",))
        return {
            "image": 1e3 * figures["inference_s"],
            "images a second on the host (viewer)": 1 / sorted(to_host)[len(to_host) // 2],
            "rasterise 2 frames": figures["rasterize_ms"],
            "geometry step, 16 frames": 1e3 * geometry["geometry_step_s"],
            "texture step, 2 frames": 1e3 * figures["texture_step_s"],
            "joint step, 2 frames": 1e3 * figures["joint_step_s"],
            "building the model": figures["init_s"],
        }

    def joint_step_ms(self) -> float:
        """The time of a joint step of two frames, after `times`; NaN before."""
        return 1e3 * self.joint_step_s

    def blend_times(self) -> dict[str, float]:
        """The figures of BLEND_TIMES."""
        figures = self._figures(model="blend", batch=4, stages=("geometry", "joint"))
        return _in_ms(BLEND_TIMES, figures, ("inference_s", "geometry_step_s", "joint_step_s"))

    def precision_times(self) -> dict[str, float]:
        """The figures of PRECISION_TIMES."""
        found: dict[str, float] = {}
        try:
            for i, precision in enumerate(PRECISIONS):
                set_precision(precision)
                figures = self._figures(stages=("joint",))
                found |= _in_ms(PRECISION_TIMES[2 * i : 2 * i + 2], figures, ("inference_s", "joint_step_s"))
        finally:
            set_precision("highest")
        return found

    def fused_times(self) -> dict[str, float]:
        """The figures of FUSED_TIMES."""
        with fused_networks():
            figures = self._figures(stages=("joint",))
        return _in_ms(FUSED_TIMES, figures, ("inference_s", "joint_step_s"))

    def eager_times(self) -> dict[str, float]:
        """The figures of EAGER_TIMES."""
        figures = self._figures(eager=True, stages=("joint",))
        return _in_ms(EAGER_TIMES, figures, ("inference_s", "joint_step_s"))

    def _figures(self, **changes) -> dict:
        """`bench.py`'s figures with other options."""
        figures, _ = measure_figures(argparse.Namespace(**vars(self.options) | changes))
        gc.collect()
        return figures

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


def _in_ms(aims: list[Aim], figures: dict, keys: Sequence[str]) -> dict[str, float]:
    return {aim.name: 1e3 * figures[key] for aim, key in zip(aims, keys, strict=True)}


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
