"""Check of this project on a GPU: kernels, numbers, speed. Takes less than four minutes and needs no network.

    python benchmarks/gpu_check.py [--device cuda] [--size 512] [--head auto] [--json FILE]
                                   [--golden DIR] [--tracker DIR] [--networks DIR] [--assets DIR]
                                   [--dataset DIR] [--tracking FILE] [--seconds 60]

Prints one row for each quantity: aim, figure, and whether the aim is reached. A part that fails does not stop the
others; a part whose folder is not given is skipped. The exit code is 1 if a row fails. With `--device cpu` it runs in a
small form, and the rows whose aims are those of a GPU are marked as skipped.

Needs torch, triton, numba, numpy, scipy, opencv, pytorch-lightning, torchmetrics and tensorboard only.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import sys
import tempfile
from pathlib import Path

import torch

from gpu_checks import graphs, kernels, long_runs, speed
from gpu_checks.synthetic_dataset import write_dataset
from gpu_checks.table import HEADER, Table
from nha.avatar.open import build_head
from nha.avatar.settings import AvatarSettings
from nha.core.device import pick_device, seed_everything, set_precision
from nha.core.json_file import undefined_as_null, write_json
from nha.core.system import run_script
from nha.head.load import load_head

NOT_THIS_DEVICE = "the aim is that of a GPU"
SYNTHETIC_FRAMES = 64


def main(argv: list[str] | None = None) -> None:
    """Run all parts, print the table, write it as JSON; exit with 1 if a row fails."""
    arguments = parse_arguments(argv)
    device = pick_device(arguments.device)
    if device.type == "cuda":
        print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, CUDA {torch.version.cuda}")
    print(HEADER)
    seed_everything(0)
    set_precision("highest")
    table = Table()
    check_kernels_and_speed(table, arguments, device)
    check_data(table, arguments, device)
    if arguments.json is not None:
        write_json(arguments.json, undefined_as_null([row.as_json() for row in table.rows]))
    skipped = sum(row.passed is None for row in table.rows)
    passed = len(table.rows) - len(table.failed) - skipped
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
    for name in ("golden", "tracker", "networks", "assets"):
        parser.add_argument(f"--{name}", type=Path, help="folder for parity.py")
    parser.add_argument("--dataset", type=Path, help="dataset folder for training and tracking")
    parser.add_argument("--tracking", type=Path, help="tracking file of the dataset")
    parser.add_argument("--seconds", type=float, default=60, help="duration of both trainings")
    return parser.parse_args(argv)


def check_kernels_and_speed(table: Table, arguments: argparse.Namespace, device: torch.device) -> None:
    """The parts that need no data."""
    on_cuda = device.type == "cuda"
    size = arguments.size or (512 if on_cuda else 96)
    repeats = arguments.repeats or (20 if on_cuda else 1)
    other = "" if on_cuda else NOT_THIS_DEVICE

    def kernel_figures() -> dict[str, float]:
        head = build_head(load_head(arguments.head), AvatarSettings())
        return kernels.measure(head, size, device)

    table.run(kernels.AIMS, kernel_figures)
    frames = 16 if on_cuda else 2
    measured = speed.Speed(arguments.head, size, str(device), repeats, geometry_frames=frames)
    table.run(speed.TIMES, measured.times, other)
    table.run(speed.MEMORY, measured.memory, other)
    table.run(speed.LAUNCHES, measured.launches if on_cuda else None, other)
    table.run(speed.BLEND_TIMES, measured.blend_times, other)
    table.run(speed.EAGER_TIMES, measured.eager_times if on_cuda else None, other)
    table.run(speed.PRECISION_TIMES, measured.precision_times if on_cuda else None, other)
    for model in ("published", "blend"):
        check = functools.partial(graphs.measure, model, arguments.head, min(size, 256), device)
        table.run(graphs.aims(model), check if on_cuda else None, other)


def check_data(table: Table, arguments: argparse.Namespace, device: torch.device) -> None:
    """The parts that need folders."""
    a = arguments
    on_cuda = device.type == "cuda"
    other = "" if on_cuda else NOT_THIS_DEVICE
    parity = functools.partial(long_runs.parity, a.golden, a.tracker, a.networks, a.assets, on_cuda)
    if any((a.golden, a.tracker, a.networks)):
        table.run(long_runs.PARITY, parity)
    else:
        table.run(long_runs.PARITY, None, "no --golden, --tracker or --networks")
    check_training(table, arguments, device)
    if importlib.util.find_spec("av") is None:
        table.run(long_runs.TRACKING, None, "the tracker writes a video, which needs the package av")
    elif a.dataset and on_cuda:
        table.run(long_runs.TRACKING, functools.partial(long_runs.tracked, a.dataset, a.head, str(device)))
    else:
        table.run(long_runs.TRACKING, None, other or "no --dataset")


def check_training(table: Table, arguments: argparse.Namespace, device: torch.device) -> None:
    """Short trainings of both models; on a GPU without a dataset on synthetic frames."""
    a = arguments
    with tempfile.TemporaryDirectory() as scratch:
        dataset, tracking = a.dataset, a.tracking
        if device.type == "cuda" and dataset is None:
            dataset, tracking = write_dataset(Path(scratch), a.head, SYNTHETIC_FRAMES, a.size or 512)
        for model, aims in long_runs.TRAINING.items():
            if dataset is None or tracking is None:
                table.run(aims, None, "no --dataset and --tracking")
                continue
            train = functools.partial(
                long_runs.training, model, dataset, tracking, a.head, str(device), a.seconds / 2
            )
            table.run(aims, train, "" if device.type == "cuda" else NOT_THIS_DEVICE)


if __name__ == "__main__":
    run_script(main)
