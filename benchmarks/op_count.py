"""How many operations an image and a training step launch on an accelerator, counted on the CPU.

    python benchmarks/op_count.py [--model published] [--size 192] [--fused_networks] [--parts] [--json FILE]

Counts aten calls (`ops`) of one image and of one step of each stage, forward, backward and optimisers together. Views
and allocations are counted apart (`views`), because they launch nothing. `syncs` are the calls for which the host would
wait for an accelerator: shapes that depend on data (nonzero, boolean indices, unique), values read by the host (item,
tolist, cpu), and host data that is copied without `non_blocking=True`. `MB` are the megabytes that the operations read
and write: with a GPU's bandwidth, a lower bound of their time.

The step runs in `nha.core.device.accelerator_path`, which takes the accelerator's path on the CPU. The rasteriser's
Triton kernels cannot run there: its CPU backend draws instead, and `RASTER_LAUNCHES` are added for each call. With
`--fused_networks` (published model) the column `fused` counts the operations with the fused kernels of the networks, of
which each launch is an operation of torch (`nha/nets/siren_ops.py`). One aten call may launch several kernels, so a
profile on a GPU shows somewhat more launches.
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
from bench import one_step, settings_of, synthetic_batch
from nha.avatar.avatar import NeuralHeadAvatar
from nha.avatar.base import HeadAvatar
from nha.avatar.blend_avatar import BlendAvatar
from nha.avatar.open import build_head
from nha.core.device import accelerator_path, seed_everything
from nha.core.errors import UserError
from nha.core.json_file import undefined_as_null, write_json
from nha.core.paths import PART_WEIGHTS
from nha.core.pixel_lists import ListLengths, fixed_lengths
from nha.core.system import run_script
from nha.core.types import FrameBatch
from nha.head.load import load_head
from nha.head.model import HeadModel
from nha.nets.fused_siren import fused_networks
from nha.optimization.config import OptimizationSettings
from nha.optimization.objective import Objective
from nha.optimization.optimizers import begin_stage, make_optimizers
from nha.optimization.stages import Stage, make_stages
from op_counter import OpCounter

BATCH = {"published": 2, "blend": 4}  # frames of a step
RASTER_LAUNCHES = 4  # of `rasterize_triton` with two layers


@contextlib.contextmanager
def counted_parts(counter: OpCounter, avatar: HeadAvatar) -> Iterator[None]:
    """Count the parts of an avatar and the loss terms separately while the block runs."""
    backend_function = nha.render.rasterize._backend_function

    def backend_counted(*arguments):
        def rasterize(*args):
            with counter.part("rasterise"):
                counter.add_launches(RASTER_LAUNCHES)
                with counter.paused():
                    return backend_function(*arguments)(*args)

        return rasterize

    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(nha.render.rasterize, "_backend_function", backend_counted))
        for part, owner, name in _parts(avatar):
            wrapped = counter.within(part, getattr(owner, name))
            stack.enter_context(mock.patch.object(owner, name, wrapped))
        yield


def _parts(avatar: HeadAvatar) -> list[tuple[str, object, str]]:
    """The parts of an avatar: name, and the method that computes it."""
    parts = [
        ("corrections", avatar, "corrected"),
        ("pose", avatar.head, "pose"),
        ("G-buffer", avatar, "rasterize"),
        ("paint", avatar, "paint"),
    ]
    if isinstance(avatar, BlendAvatar):
        return [
            *parts,
            ("offsets", avatar, "rest_offsets"),
            ("drive", avatar, "scaled_drive"),
            ("drive", avatar, "_texture_drive"),
            ("texture maps", avatar.head_texture, "maps"),
            ("texture maps", avatar.mouth_texture, "maps"),
            ("antialias", avatar, "_image"),
        ]
    return [
        *parts,
        ("offsets", avatar, "offsets"),
        ("mouth features", avatar, "mouth_features"),
        ("normal encoder", avatar.normal_encoder, "at_pixels"),
        ("neural texture", avatar.neural_texture, "forward"),
        ("texture network", avatar.texture_net, "forward"),
    ]


def count_image(avatar: HeadAvatar, batch: FrameBatch) -> OpCounter:
    """The calls of one rendered image."""
    avatar.eval()

    lengths = ListLengths()

    def image() -> None:
        with torch.no_grad(), fixed_lengths(lengths):
            avatar(batch.tracked[:1], batch.camera[:1], batch.frame_id[:1])

    return _count(lambda counter: image, avatar)


def count_step(
    avatar: HeadAvatar,
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


def _count(make_function: Callable[[OpCounter], Callable[[], None]], avatar: HeadAvatar) -> OpCounter:
    """The calls of a function's second run; the first one fills caches."""
    with accelerator_path():
        for _ in range(2):  # the first run fills caches and measures the lengths of lists
            counter = OpCounter()
            function = make_function(counter)
            with counted_parts(counter, avatar), counter:
                function()
    return counter


def count_all(
    head: HeadModel, settings: OptimizationSettings, size: int, *, fused: bool = False
) -> dict[str, OpCounter]:
    """The counters of "image", "geometry_step", "texture_step" and "joint_step".

    Args:
        head: the head model, built for the settings.
        settings: the model, its sizes, and the stages.
        size: side of the square images in pixels.
        fused: evaluate the networks by the fused kernels.
    """
    with fused_networks() if fused else contextlib.nullcontext():
        return _count_all(head, settings, size)


def _count_all(head: HeadModel, settings: OptimizationSettings, size: int) -> dict[str, OpCounter]:
    seed_everything(0)
    kind = BlendAvatar if settings.avatar.model == "blend" else NeuralHeadAvatar
    frames = BATCH[settings.avatar.model]
    with accelerator_path():
        avatar = kind(head, settings.avatar, frames)
        optimizers = make_optimizers(avatar)
    batch = synthetic_batch(head, frames, size)
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
    parser.add_argument("--model", choices=list(BATCH), default="published", help="of the avatar")
    parser.add_argument("--size", type=int, default=192, help="side of the square images in pixels")
    parser.add_argument("--head", default="auto", help="auto, flame, procedural or a folder")
    parser.add_argument(
        "--fused_networks", action="store_true", help="count with the fused kernels of the networks, too"
    )
    parser.add_argument("--parts", action="store_true", help="list the parts too")
    parser.add_argument("--json", type=Path, help="file to write the counts to")
    arguments = parser.parse_args(argv)
    if arguments.fused_networks and arguments.model == "blend":
        raise UserError("the blend model has no networks that can be fused; leave out --fused_networks")
    settings = settings_of(arguments.model, arguments.size)
    head = build_head(load_head(arguments.head), settings.avatar)
    counters = count_all(head, settings, arguments.size)
    fused = count_all(head, settings, arguments.size, fused=True) if arguments.fused_networks else {}
    _print_table(counters, fused, arguments.parts)
    if arguments.json:
        counts = {name: counter.totals() for name, counter in counters.items()}
        for name, counter in fused.items():
            counts[name] |= {f"fused_{key}": value for key, value in counter.totals().items()}
        write_json(arguments.json, undefined_as_null(counts))


def _print_table(counters: dict[str, OpCounter], fused: dict[str, OpCounter], with_parts: bool) -> None:
    """Print the counts, one line for each work, and those of its parts."""
    print(f"{'':<24} {'ops':>6} {'views':>6} {'syncs':>6} {'MB':>8}" + (f" {'fused':>6}" if fused else ""))

    def line(title: str, counts: list[int], traffic: int, own: OpCounter | None, ops: int) -> None:
        text = "".join(f" {count:>6}" for count in counts) + f" {traffic / 1e6:>8.1f}"
        print(f"{title:<24}{text}" + (f" {ops:>6}" if own else ""))

    for name, counter in counters.items():
        own, totals = fused.get(name), counter.totals()
        counts = [totals[key] for key in ("ops", "views", "syncs")]
        line(name, counts, totals["traffic"], own, own.totals()["ops"] if own else 0)
        for part, ops in counter.ops.most_common() if with_parts else ():
            counts = [ops, counter.views[part], counter.syncs[part]]
            line(f"    {part}", counts, counter.traffic[part], own, own.ops[part] if own else 0)
        for (part, call), times in counter.sync_names.items() if with_parts else ():
            print(f"    waits: {part}: {call} x {times}")


if __name__ == "__main__":
    run_script(main)
