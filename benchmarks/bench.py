"""How long the parts of an optimisation take on this machine.

    python benchmarks/bench.py [--device auto] [--size 192] [--batch 2] [--head auto] [--model published] [--eager]
                               [--json FILE] [--compare FILE]

Times a model with networks of the published sizes on synthetic frames of one head model: building the avatar,
rasterising, one step of each stage (rendering, losses, gradients, optimisers), rendering one image, the same with the
blend model, loading a batch. Prints medians after a warm-up with the fastest and slowest run. Peak memory is that of
the process on a CPU, of torch's allocator on a GPU.
"""

from __future__ import annotations

import argparse
import atexit
import math
import platform
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from nha.avatar.blend_avatar import BlendAvatar
from nha.avatar.image_renderer import render_rgba
from nha.avatar.open import build_avatar, build_head
from nha.avatar.settings import AvatarSettings
from nha.core.conventions import Parsing, Segmentation
from nha.core.cuda_graphs import WARM_UPS
from nha.core.device import pick_device, seed_everything, uses_cpu_kernels
from nha.core.json_file import read_json, undefined_as_null, write_json
from nha.core.paths import PART_WEIGHTS
from nha.core.pixel_lists import ListLengths, fixed_lengths
from nha.core.system import run_script
from nha.core.types import Camera, FrameBatch, HeadParams
from nha.data.dataset_folder import DatasetFolder, Keypoints, write_keypoints, write_labels, write_rgb
from nha.data.frame_store import FrameStore
from nha.head.load import load_head
from nha.head.model import HeadModel
from nha.optimization.config import LossSettings, OptimizationSettings, RunSettings, ScheduleSettings
from nha.optimization.objective import Objective
from nha.optimization.optimizers import begin_stage, make_optimizers
from nha.optimization.stages import make_stages
from nha.optimization.training_step import TrainingStep, draw_step
from nha.render.camera import project
from nha.render.rasterize import rasterize

HEAD_DISTANCE_METRES = 0.9
STAGES = ("geometry", "texture", "joint")
FOCAL_SHARE = 2.6  # focal length over image size


def main(argv: list[str] | None = None) -> None:
    """Measure, print a table, and write it as JSON with `--json`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--size", type=int, default=192, help="side of the square images in pixels")
    parser.add_argument("--batch", type=int, default=2, help="frames per step")
    parser.add_argument("--head", default="auto", help="auto, flame, procedural or a folder")
    parser.add_argument(
        "--stages", nargs="+", default=STAGES, choices=STAGES, help="stages of which a step is timed"
    )
    parser.add_argument("--repeats", type=int, default=5, help="timed runs of each part")
    parser.add_argument("--model", default="published", choices=("published", "blend"), help="of the avatar")
    parser.add_argument("--eager", action="store_true", help="no CUDA graphs: each operation by itself")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    parser.add_argument("--compare", type=Path, help="figures of an earlier run; prints the ratio to them")
    arguments = parser.parse_args(argv)

    figures = measure(arguments)
    earlier = read_json(arguments.compare) if arguments.compare else {}
    for name, value in figures.items():
        if isinstance(value, float):
            spread = figures["spread"].get(name)
            note = f"   ({spread[0]:.4g} to {spread[1]:.4g})" if spread else ""
            ratio = f"   {value / earlier[name]:.2f} x earlier" if earlier.get(name) else ""
            print(f"{name:<18} {value:>10.4g}{note}{ratio}")
    if arguments.json:
        write_json(arguments.json, undefined_as_null(figures))


def measure(arguments: argparse.Namespace) -> dict:
    """All figures: seconds (`_s`), milliseconds (`_ms`), MiB (`_mb`)."""
    return measure_figures(arguments)[0]


def measure_figures(arguments: argparse.Namespace) -> tuple[dict, dict[str, Callable[[], object]]]:
    """The figures of `measure`, and the functions that were timed by the names of their figures.

    Only the stages named in `arguments.stages` are timed.
    """
    seed_everything(0)
    device = pick_device(arguments.device)
    settings = settings_of(arguments.model, arguments.size)
    start = time.perf_counter()
    avatar = build_avatar(load_head(arguments.head), settings.avatar, arguments.batch)
    avatar = avatar.to(device)
    head = avatar.head
    figures: dict = {"init_s": time.perf_counter() - start}
    spread: dict = {}
    work: dict[str, Callable[[], object]] = {}

    def record(name: str, function: Callable[[], object], scale: float = 1.0) -> None:
        work[name] = function
        seconds = [scale * s for s in timed(function, arguments.repeats, device)]
        figures[name] = statistics.median(seconds)
        spread[name] = [min(seconds), max(seconds)]

    batch = synthetic_batch(head, arguments.batch, arguments.size)
    screen = project(avatar.head(batch.tracked), batch.camera)
    record("rasterize_ms", lambda: rasterize(screen, avatar.head.faces, batch.camera.image_size), 1e3)
    record("loader_ms", loader(arguments.batch, arguments.size), 1e3)
    objective = Objective(avatar, PART_WEIGHTS, None).to(device)
    optimizers = make_optimizers(avatar)
    for stage in make_stages(settings):
        if stage.name not in arguments.stages:
            continue
        active = begin_stage(avatar.train(), optimizers, stage)
        step = one_step(avatar, objective, stage, active, batch, settings, capture=not arguments.eager)
        record(f"{stage.name}_step_s", step)
    avatar.eval()
    lengths = None if uses_cpu_kernels(device) else ListLengths()
    one = batch.tracked[:1], batch.camera[:1]

    @torch.no_grad()
    def render_image() -> torch.Tensor:
        if not arguments.eager:
            return render_rgba(avatar, *one, frame_ids=batch.frame_id[:1])
        with fixed_lengths(lengths):
            return avatar(*one, batch.frame_id[:1])

    record("inference_s", render_image)
    record("blend_image_ms", blend_image(arguments, batch, device), 1e3)
    figures["peak_memory_mb"] = peak_memory_mb(device)
    figures["spread"] = spread
    figures["machine"] = {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else platform.processor() or "cpu",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "size": arguments.size,
        "batch": arguments.batch,
        "head": head.name,
        "model": arguments.model,
        "graphs": device.type == "cuda" and not arguments.eager,
    }
    return figures, work


def blend_image(
    arguments: argparse.Namespace, batch: FrameBatch, device: torch.device
) -> Callable[[], object]:
    """A function that draws the first head of a batch with a blend model of random offsets and colours."""
    side = 1 << (arguments.size - 1).bit_length()
    settings = AvatarSettings(model="blend", subdivide_mesh=0, blend_texture_size=side)
    avatar = BlendAvatar(build_head(load_head(arguments.head), settings), settings, len(batch))
    images = (avatar.head_texture, avatar.mouth_texture)
    with torch.no_grad():
        for values in (avatar.static_offsets, avatar.shapes):
            values.normal_(0, 1e-3)
        for values in [avatar.light, *(level for image in images for level in image.parameters())]:
            values.add_(0.05 * torch.randn_like(values))
    avatar.eval().to(device)

    @torch.no_grad()
    def draw() -> torch.Tensor:
        return avatar(batch.tracked[:1], batch.camera[:1])

    return draw


def settings_of(model: str, size: int) -> OptimizationSettings:
    """The settings of a training with the published model, or with the blend model for images of `size` pixels."""
    if model == "published":
        return OptimizationSettings(
            run=RunSettings(default_root_dir=Path()),
            data=None,
            schedule=ScheduleSettings(),
            losses=LossSettings(perceptual="none"),
            avatar=AvatarSettings(),
        )
    places = {"default_root_dir": ".", "data_path": ".", "tracking_results_path": "."}
    side = 2 ** math.ceil(math.log2(max(size, 64)))
    return OptimizationSettings.from_ini("blend", **places, blend_texture_size=side)


def one_step(avatar, objective, stage, active, batch, settings, *, capture=True) -> Callable[[], object]:
    """A function that takes one training step; capture: as a CUDA graph where there are graphs."""
    weights = stage.weights_at(stage.first_epoch)
    step = TrainingStep(avatar, objective, stage, settings, active, capture=capture)
    return lambda: step(batch, draw_step(settings, stage, batch, 0), weights)


@torch.no_grad()
def synthetic_batch(head: HeadModel, n: int, size: int) -> FrameBatch:
    """N frames of a head that turns, on the head's device.

    Masks and landmarks come from a rasterisation of the head itself; colours and normals are noise.

    Args:
        head: the head model.
        n: number of frames.
        size: side of the square images in pixels.
    """
    p = head.neutral_params(n)
    device = p.rotation.device
    turn = torch.linspace(-0.3, 0.3, n) if n > 1 else torch.zeros(1)
    tracked: HeadParams = p.replace(
        rotation=torch.stack([torch.zeros(n), torch.pi + turn, torch.zeros(n)], 1).to(device),
        translation=torch.tensor([0.0, 0.0, HEAD_DISTANCE_METRES], device=device).expand(n, 3),
    )
    focal = FOCAL_SHARE * size
    intrinsics = torch.tensor([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]]).expand(n, 3, 3)
    camera = Camera(intrinsics, torch.eye(3, 4).expand(n, 3, 4), (size, size)).to(device)
    vertices = head(tracked)
    covered = rasterize(project(vertices, camera), head.faces, (size, size)).face_index[..., 0] >= 0
    landmarks = project(head.landmarks(vertices), camera)[..., :2]
    rows = torch.arange(size, device=device)[:, None].expand(size, size)
    labels = torch.where(rows < size // 4, int(Parsing.HAIR), int(Parsing.SKIN))
    noise = torch.nn.functional.normalize(torch.randn(n, 3, size, size), dim=1).to(device)
    batch = FrameBatch(
        frame_id=torch.arange(n),
        rgb01=torch.rand(n, 3, size, size),
        segmentation=torch.where(covered, int(Segmentation.HEAD), 0),
        parsing=torch.where(covered, labels, 0),
        normals=noise * covered[:, None],
        landmarks_px=landmarks[:, :68] + 1,
        landmark_confidence=torch.ones(n, 68),
        iris_px=landmarks[:, 68:],
        eye_height_px=torch.full((n, 2), size / 40),
        tracked=tracked,
        camera=camera,
    )
    return batch.to(device)


def loader(n: int, size: int) -> Callable[[], object]:
    """A function that reads a batch of n square frames from the cache of decoded frames; size: side in pixels."""
    scratch = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    folder = DatasetFolder(Path(scratch))
    image = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
    for frame_id in range(n):
        paths = folder.paths(frame_id)
        write_rgb(paths.image, image)
        write_rgb(paths.normals, image)
        write_labels(paths.parsing, image[..., 0] % 18)
        write_labels(paths.segmentation, image[..., 1])
        points = np.zeros((70, 2), np.float32)
        ones = np.ones(68, np.float32)
        write_keypoints(paths.keypoints, Keypoints(points[:68], ones, ones, points[68:]))
    store = FrameStore(folder, range(n), "auto")
    return lambda: store.read(list(range(n)))


def timed(function: Callable[[], object], repeats: int, device: torch.device) -> list[float]:
    """Seconds of each of `repeats` runs after one warm-up run; on CUDA after those that a graph needs."""
    seconds = []
    warm_ups = WARM_UPS + 1 if device.type == "cuda" else 1
    for _ in range(repeats + warm_ups):
        start = time.perf_counter()
        function()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return seconds[warm_ups:]


def peak_memory_mb(device: torch.device) -> float:
    """Peak memory in MiB: of the allocator on a GPU, of the process's resident memory on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


if __name__ == "__main__":
    run_script(main)
