"""How many operations an image and a training step launch on an accelerator, counted on the CPU.

    python benchmarks/op_count.py [--size 192] [--head auto] [--fused_networks] [--parts] [--json FILE]

Counts aten calls (`ops`) of one image and of one step of each stage, forward, backward and optimisers together, with
the published networks. Views and allocations are counted apart (`views`), because they launch nothing. `syncs` are the
calls for which the host would wait for an accelerator: shapes that depend on data (nonzero, boolean indices, unique),
values read by the host (item, tolist, cpu), and host data that is copied without `non_blocking=True`.

The step runs in `nha.core.device.accelerator_path`, which takes the accelerator's path on the CPU. The rasteriser's
Triton kernels cannot run there: its CPU backend draws instead, and `RASTER_LAUNCHES` are added for each call. With
`--fused_networks` the column `fused` counts the operations with the fused kernels of the networks, of which each launch
is an operation of torch (`nha/nets/siren_ops.py`). One aten call may launch several kernels, so a profile on a GPU
shows somewhat more launches.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from unittest import mock

import torch
from torch.optim import Optimizer

import nha.render.rasterize
from bench import one_step, synthetic_batch
from nha.avatar.avatar import NeuralHeadAvatar
from nha.avatar.open import build_head
from nha.avatar.settings import AvatarSettings
from nha.core.device import accelerator_path, seed_everything
from nha.core.json_file import undefined_as_null, write_json
from nha.core.paths import PART_WEIGHTS
from nha.core.pixel_lists import ListLengths, fixed_lengths
from nha.core.system import run_script
from nha.core.types import FrameBatch
from nha.head.load import load_head
from nha.head.model import HeadModel
from nha.nets.fused_siren import fused_networks
from nha.optimization.config import LossSettings, OptimizationSettings, RunSettings, ScheduleSettings
from nha.optimization.objective import Objective
from nha.optimization.optimizers import begin_stage, make_optimizers
from nha.optimization.stages import Stage, make_stages
from op_counter import OpCounter

BATCH = 2  # frames of a step
RASTER_LAUNCHES = 4  # of `rasterize_triton` with two layers


@contextlib.contextmanager
def counted_parts(counter: OpCounter, avatar: NeuralHeadAvatar) -> Iterator[None]:
    """Count the parts of an avatar and the loss terms separately while the block runs."""
    backend_function = nha.render.rasterize._backend_function

    def backend_counted(*arguments):
        def rasterize(*args):
            with counter.part("rasterise"):
                counter.add_launches(RASTER_LAUNCHES)
                with counter.paused():
                    return backend_function(*arguments)(*args)

        return rasterize

    methods = {
        "corrections": (avatar, "corrected"),
        "offsets": (avatar, "offsets"),
        "pose": (avatar.head, "pose"),
        "G-buffer": (avatar, "rasterize"),
        "mouth features": (avatar, "mouth_features"),
        "paint": (avatar, "paint"),
        "normal encoder": (avatar.normal_encoder, "at_pixels"),
        "neural texture": (avatar.neural_texture, "forward"),
        "texture network": (avatar.texture_net, "forward"),
    }
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(nha.render.rasterize, "_backend_function", backend_counted))
        for part, (owner, name) in methods.items():
            wrapped = counter.within(part, getattr(owner, name))
            stack.enter_context(mock.patch.object(owner, name, wrapped))
        yield


def count_image(avatar: NeuralHeadAvatar, batch: FrameBatch) -> OpCounter:
    """The calls of one rendered image."""
    avatar.eval()

    lengths = ListLengths()

    def image() -> None:
        with torch.no_grad(), fixed_lengths(lengths):
            avatar(batch.tracked[:1], batch.camera[:1], batch.frame_id[:1])

    return _count(lambda counter: image, avatar)


def count_step(
    avatar: NeuralHeadAvatar,
    objective: Objective,
    optimizers: Mapping[str, Optimizer],
    stage: Stage,
    batch: FrameBatch,
    settings: OptimizationSettings,
) -> OpCounter:
    """The calls of one training step of a stage."""
    active = begin_stage(avatar.train(), optimizers, stage)

    counting: list[OpCounter] = []  # the counter of the present run

    def within(name: str, function: Callable) -> Callable:
        return lambda *args, **kwargs: counting[-1].within(name, function)(*args, **kwargs)

    terms = tuple(replace(t, function=within(f"loss {t.name}", t.function)) for t in stage.terms)
    for optimizer in active:
        optimizer.step = within("optimisers", type(optimizer).step.__get__(optimizer))
    step = one_step(avatar, objective, replace(stage, terms=terms), active, batch, settings)

    def counted(counter: OpCounter) -> Callable[[], None]:
        counting.append(counter)
        return step

    return _count(counted, avatar)


def _count(make_function: Callable[[OpCounter], Callable[[], None]], avatar: NeuralHeadAvatar) -> OpCounter:
    """The calls of a function's second run; the first one fills caches."""
    with accelerator_path():
        for _ in range(2):  # the first run fills caches and measures the lengths of lists
            counter = OpCounter()
            function = make_function(counter)
            with counted_parts(counter, avatar), counter:
                function()
    return counter


def count_all(
    head: HeadModel, avatar_settings: AvatarSettings, size: int, *, fused: bool = False
) -> dict[str, OpCounter]:
    """The counters of "image", "geometry_step", "texture_step" and "joint_step".

    Args:
        head: the head model, built for the settings.
        avatar_settings: sizes of the networks.
        size: side of the square images in pixels.
        fused: evaluate the networks by the fused kernels.
    """
    with fused_networks() if fused else contextlib.nullcontext():
        return _count_all(head, avatar_settings, size)


def _count_all(head: HeadModel, avatar_settings: AvatarSettings, size: int) -> dict[str, OpCounter]:
    seed_everything(0)
    settings = OptimizationSettings(
        run=RunSettings(default_root_dir=Path()),
        data=None,
        schedule=ScheduleSettings(),
        losses=LossSettings(perceptual="none"),
        avatar=avatar_settings,
    )
    with accelerator_path():
        avatar = NeuralHeadAvatar(head, avatar_settings, BATCH)
        optimizers = make_optimizers(avatar)
    batch = synthetic_batch(head, BATCH, size)
    objective = Objective(avatar, PART_WEIGHTS, None)
    counters = {"image": count_image(avatar, batch)}
    for stage in make_stages(settings):
        with accelerator_path():
            counter = count_step(avatar, objective, optimizers, stage, batch, settings)
        counters[f"{stage.name}_step"] = counter
    return counters


def main(argv: list[str] | None = None) -> None:
    """Count, print a table, and write it as JSON with `--json`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=192, help="side of the square images in pixels")
    parser.add_argument("--head", default="auto", help="auto, flame, procedural or a folder")
    parser.add_argument(
        "--fused_networks", action="store_true", help="count with the fused kernels of the networks, too"
    )
    parser.add_argument("--parts", action="store_true", help="list the parts too")
    parser.add_argument("--json", type=Path, help="file to write the counts to")
    arguments = parser.parse_args(argv)
    settings = AvatarSettings()
    head = build_head(load_head(arguments.head), settings)
    counters = count_all(head, settings, arguments.size)
    fused = count_all(head, settings, arguments.size, fused=True) if arguments.fused_networks else {}
    print(f"{'':<24} {'ops':>6} {'views':>6} {'syncs':>6}" + (f" {'fused':>6}" if fused else ""))
    for name, counter in counters.items():
        totals = counter.totals() | ({"fused": fused[name].totals()["ops"]} if fused else {})
        print(f"{name:<24} " + " ".join(f"{count:>6}" for count in totals.values()))
        if arguments.parts:
            for part, ops in counter.ops.most_common():
                counts = [ops, counter.views[part], counter.syncs[part]]
                counts += [fused[name].ops[part]] if fused else []
                print(f"    {part:<20} " + " ".join(f"{count:>6}" for count in counts))
            for (part, call), times in counter.sync_names.items():
                print(f"    waits: {part}: {call} x {times}")
    if arguments.json:
        counts = {name: counter.totals() for name, counter in counters.items()}
        for name, counter in fused.items():
            counts[name] |= {f"fused_{key}": value for key, value in counter.totals().items()}
        write_json(arguments.json, undefined_as_null(counts))


if __name__ == "__main__":
    run_script(main)
