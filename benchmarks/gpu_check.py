"""Check of this project on a GPU: kernels, numbers, speed. Takes at most four minutes and needs no network.

    python benchmarks/gpu_check.py [--device cuda] [--size 512] [--head auto] [--json FILE] [--list] [--only PART ...]
                                   [--golden DIR] [--tracker DIR] [--networks DIR] [--assets DIR]
                                   [--dataset DIR] [--tracking FILE] [--limit 240]

Prints one row for each quantity: aim, figure, and whether the aim is reached. A part that fails, or takes longer than
its budget, does not stop the others; a part whose folder is not given, or for which too little time is left, is
skipped. The exit code is 1 if a row fails. With `--device cpu` it runs in a small form, and the rows whose aims are
those of a GPU are marked as skipped.

Runs from a checkout that is not installed. Needs torch, triton, numba, numpy, scipy, opencv, pytorch-lightning,
torchmetrics and tensorboard only.
"""

from __future__ import annotations

import argparse
import functools
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from checkout import ROOT  # first: it makes `nha` importable
from gpu_checks import fused, graphs, kernels, lists, long_runs, small_kernels, speed
from gpu_checks.synthetic_dataset import write_dataset
from gpu_checks.table import HEADER, Part, Table
from nha.avatar.open import build_head
from nha.avatar.settings import AvatarSettings
from nha.core.device import pick_device, seed_everything, set_precision
from nha.core.errors import UserError
from nha.core.json_file import undefined_as_null, write_json
from nha.core.launches import has_triton
from nha.core.system import run_script
from nha.head.load import load_head

NOT_THIS_DEVICE = "the aim is that of a GPU"
SYNTHETIC_FRAMES = 64


def main(argv: list[str] | None = None) -> None:
    """Run all parts, print the table, write it as JSON; exit with 1 if a row fails."""
    arguments = parse_arguments(argv)
    device = pick_device(arguments.device)
    with tempfile.TemporaryDirectory() as scratch:
        parts = chosen_parts(all_parts(arguments, device, Path(scratch)), arguments.only)
        if arguments.list:
            list_parts(parts)
            return
        if device.type == "cuda":
            print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, CUDA {torch.version.cuda}")
        print(f"checkout: {ROOT}", HEADER, sep="\n")
        seed_everything(0)
        set_precision("highest")
        table = Table(arguments.limit)
        for part in parts:
            table.run(part)
    if arguments.json is not None:
        write_json(arguments.json, undefined_as_null([row.as_json() for row in table.rows]))
    skipped = sum(row.passed is None for row in table.rows)
    passed = len(table.rows) - len(table.failed) - skipped
    print("seconds:", ", ".join(f"{name} {seconds:.0f}" for name, seconds in table.seconds.items()))
    print(f"{passed} passed, {len(table.failed)} failed, {skipped} skipped")
    if table.failed:
        sys.exit(1)


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument(
        "--size", type=int, help="side of the square images in pixels; default 512, or 96 on a CPU"
    )
    parser.add_argument("--head", default="auto", help="auto, flame, procedural or a folder")
    parser.add_argument("--repeats", type=int, help="timed runs of each part; default 20, or 1 on a CPU")
    parser.add_argument("--json", type=Path, help="file to write the rows to, as a list of objects")
    parser.add_argument("--list", action="store_true", help="print the parts and their rows, and run nothing")
    parser.add_argument("--only", nargs="+", metavar="PART", help="run these parts only, see --list")
    for name in ("golden", "tracker", "networks", "assets"):
        parser.add_argument(f"--{name}", type=Path, help="folder for parity.py")
    parser.add_argument("--dataset", type=Path, help="dataset folder for training and tracking")
    parser.add_argument("--tracking", type=Path, help="tracking file of the dataset")
    parser.add_argument("--seconds", type=float, default=40, help="duration of both trainings")
    parser.add_argument("--limit", type=float, default=240, help="seconds for all parts together")
    return parser.parse_args(argv)


def chosen_parts(parts: list[Part], names: list[str] | None) -> list[Part]:
    """The parts of these names; all for None. Raises UserError for an unknown name."""
    unknown = set(names or ()) - {part.name for part in parts}
    if unknown:
        raise UserError(f"unknown parts: {', '.join(sorted(unknown))}; --list prints those that there are")
    return [part for part in parts if names is None or part.name in names]


def list_parts(parts: list[Part]) -> None:
    """Print the parts, their budgets and the names of their rows."""
    for part in parts:
        print(f"{part.name} (at most {part.budget_s:g} s)")
        for aim in part.aims:
            print(f"    {aim.name}")


def all_parts(arguments: argparse.Namespace, device: torch.device, scratch: Path) -> list[Part]:
    """All parts in the order in which they run: what matters most comes first."""
    measured = _speed(arguments, device)
    return [
        *parts_of_kernels(arguments, device),
        *parts_of_speed(measured, device),
        *parts_of_data(arguments, device, scratch, measured),
    ]


def parts_of_kernels(arguments: argparse.Namespace, device: torch.device) -> list[Part]:
    """Kernels against twins, graphs against single operations."""
    a, on_cuda = arguments, device.type == "cuda"
    size = a.size or (512 if on_cuda else 96)
    other = "" if on_cuda else NOT_THIS_DEVICE

    def kernel_figures() -> dict[str, float]:
        head = build_head(load_head(a.head), AvatarSettings())
        return kernels.measure(head, size, device)

    fused_networks = functools.partial(fused.measure, device, a.repeats or 10)
    growing = functools.partial(lists.measure, a.head, min(size, 256), device)
    parts = [
        Part("kernels", kernels.AIMS, kernel_figures, budget_s=40),
        Part("fused", fused.AIMS, fused_networks if on_cuda and has_triton() else None, other, 30),
        Part("lists", lists.AIMS, growing if on_cuda else None, other, 30),
    ]
    for model in ("published", "blend"):
        check = functools.partial(small_kernels.measure, model, a.head, min(size, 256), device)
        aims = small_kernels.aims(model)
        parts.append(
            Part(f"small-kernels-{model}", aims, check if on_cuda and has_triton() else None, other, 30)
        )
    for model in ("published", "blend"):
        check = functools.partial(graphs.measure, model, a.head, min(size, 256), device)
        parts.append(Part(f"graphs-{model}", graphs.aims(model), check if on_cuda else None, other, 30))
    return parts


def _speed(arguments: argparse.Namespace, device: torch.device) -> speed.Speed:
    on_cuda = device.type == "cuda"
    size = arguments.size or (512 if on_cuda else 96)
    repeats = arguments.repeats or (20 if on_cuda else 1)
    return speed.Speed(arguments.head, size, str(device), repeats, geometry_frames=16 if on_cuda else 2)


def parts_of_speed(measured: speed.Speed, device: torch.device) -> list[Part]:
    """Times, memory and launches with generated frames."""
    on_cuda = device.type == "cuda"
    other = "" if on_cuda else NOT_THIS_DEVICE
    return [
        Part("times", speed.TIMES, measured.times, other, 60),
        Part("memory", speed.MEMORY, measured.memory, other, 1),
        Part("launches", speed.LAUNCHES, measured.launches if on_cuda else None, other, 15),
        Part("blend-times", speed.BLEND_TIMES, measured.blend_times, other, 30),
        Part("eager-times", speed.EAGER_TIMES, measured.eager_times if on_cuda else None, other, 30),
        Part(
            "fused-times",
            speed.FUSED_TIMES,
            measured.fused_times if on_cuda and has_triton() else None,
            other,
            25,
        ),
        Part(
            "precision-times",
            speed.PRECISION_TIMES,
            measured.precision_times if on_cuda else None,
            other,
            40,
        ),
    ]


def parts_of_data(
    arguments: argparse.Namespace, device: torch.device, scratch: Path, measured: speed.Speed
) -> list[Part]:
    """Parity, training and tracking; on a GPU without a dataset on synthetic frames."""
    a, name, on_cuda = arguments, str(device), device.type == "cuda"
    other = "" if on_cuda else NOT_THIS_DEVICE

    @functools.cache
    def data() -> tuple[Path, Path]:
        if a.dataset is None or a.tracking is None:
            return write_dataset(scratch, a.head, SYNTHETIC_FRAMES, a.size or 512)
        return a.dataset, a.tracking

    parity = functools.partial(long_runs.parity, a.golden, a.tracker, a.networks, a.assets, on_cuda)
    has_folders = any((a.golden, a.tracker, a.networks))
    no_folders = "" if has_folders else "no --golden, --tracker or --networks"
    parts = [Part("parity", long_runs.PARITY, parity if has_folders else None, no_folders, 100)]

    def add(part: str, aims: list, measure: Callable[[], dict[str, float]], budget_s: float) -> None:
        has_data = on_cuda or (a.dataset is not None and a.tracking is not None)
        note = other if has_data else "no --dataset and --tracking"
        parts.append(Part(part, aims, measure if has_data else None, note, budget_s))

    for model, aims in long_runs.TRAINING.items():

        def train(model: str = model) -> dict[str, float]:
            return long_runs.training(model, data(), a.head, name, a.seconds / 2, measured.joint_step_ms)

        add(f"training-{model}", aims, train, a.seconds / 2 + 20)
    add("tracking", long_runs.TRACKING, lambda: long_runs.tracked(data()[0], a.head, name), 45)
    add("precision", long_runs.PRECISION, lambda: long_runs.held_out_psnr(data(), a.head, name), 60)
    return parts


if __name__ == "__main__":
    run_script(main)
