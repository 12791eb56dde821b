"""Time of rendering on this machine: rasterisation, the G-buffer's channels, and their gradients.

    python benchmarks/raster_bench.py --size 512 --batch 2 --backend numba --json raster.json

Renders a head that fills most of the image and prints medians after a warm-up. On the CPU, OMP_NUM_THREADS and
NUMBA_NUM_THREADS set the number of threads.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numba
import torch
from torch import Tensor

from nha.core.device import pick_device
from nha.core.errors import UserError
from nha.core.json_file import undefined_as_null, write_json
from nha.core.system import run_script
from nha.core.types import Camera, SurfaceTables
from nha.head.load import load_head
from nha.head.model import HeadModel
from nha.render.antialias import EdgeTable, antialias
from nha.render.camera import project
from nha.render.gbuffer import CHANNELS, draw_gbuffer, visible_surface
from nha.render.rasterize import BACKENDS, rasterize, set_raster_backend
from nha.render.shading import phong_image


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the renderer on this machine.")
    parser.add_argument("--size", type=int, default=512, help="side of the square image in pixels")
    parser.add_argument("--batch", type=int, default=2, help="images rendered together")
    parser.add_argument("--backend", choices=BACKENDS, default="auto")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--head", default="auto", help="auto, flame, procedural or a folder of FLAME's files")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    options = parser.parse_args()
    if options.size < 1 or options.batch < 1 or options.repeats < 1:
        raise UserError("--size, --batch and --repeats must be at least 1")

    device = pick_device(options.device)
    head = HeadModel(load_head(options.head)).to(device)
    vertices = _facing_vertices(head, options.batch)
    camera = _camera(vertices, options.size)
    set_raster_backend(options.backend)
    timings = _measure(vertices, head.tables, camera, options.repeats)

    setup = {
        "size": options.size,
        "batch": options.batch,
        "backend": options.backend,
        "device": str(device),
        "threads": {"torch": torch.get_num_threads(), "numba": numba.get_num_threads()},
        "vertices": vertices.shape[1],
        "faces": len(head.tables.faces),
    }
    print(", ".join(f"{name} {value}" for name, value in setup.items()))
    for name, milliseconds in timings.items():
        print(f"{name:32s} {milliseconds:9.2f} ms")
    if options.json is not None:
        write_json(options.json, undefined_as_null({**setup, "median_ms": timings}))


def _facing_vertices(head: HeadModel, batch: int) -> Tensor:
    """Neutral heads that look at the camera, each turned slightly further than the previous one: [N, V, 3] metres."""
    params = head.neutral_params(batch)
    turn = math.pi + torch.linspace(0, 0.5, batch, device=params.rotation.device)
    rotation = torch.stack((torch.zeros_like(turn), turn, torch.zeros_like(turn)), dim=-1)
    with torch.no_grad():
        vertices = head(params.replace(rotation=rotation))
    middle = (vertices.amax(1, keepdim=True) + vertices.amin(1, keepdim=True)) / 2
    return vertices - middle + vertices.new_tensor([0.0, 0.0, 1.0])


def _camera(vertices: Tensor, size: int) -> Camera:
    """A camera at the origin; heads at one metre fill most of the height of its images."""
    extent = float((vertices.amax(1) - vertices.amin(1))[:, :2].max())
    focal_px = 0.85 * size / extent
    intrinsics = torch.tensor([[focal_px, 0, size / 2], [0, focal_px, size / 2], [0, 0, 1]])
    batch, device = len(vertices), vertices.device
    return Camera(
        intrinsics.expand(batch, -1, -1).to(device),
        torch.eye(3, 4, device=device).expand(batch, -1, -1),
        (size, size),
    )


def _measure(vertices: Tensor, tables: SurfaceTables, camera: Camera, repeats: int) -> dict[str, float]:
    screen = project(vertices, camera)
    two_nearest = rasterize(screen, tables.faces, camera.image_size)
    moving = vertices.clone().requires_grad_()

    def forward_and_backward() -> None:
        drawn = draw_gbuffer(moving, tables, camera, ["normals", "screen_coords"])
        torch.autograd.grad(drawn["normals"].sum() + drawn["screen_coords"].sum(), moving)

    fragments, edges = visible_surface(two_nearest, tables), EdgeTable.from_faces(tables.faces)
    alpha = (fragments.face_index[..., 0] >= 0).float()[:, None]
    rgba = alpha.repeat(1, 4, 1, 1)
    moving_rgba, moving_screen = rgba.clone().requires_grad_(), screen.clone().requires_grad_()

    def antialias_and_backward() -> None:
        blended = antialias(moving_rgba, fragments, moving_screen, tables.faces, edges)
        torch.autograd.grad(blended.sum(), (moving_rgba, moving_screen))

    def draw(*channels: str) -> Callable[[], object]:
        return lambda: draw_gbuffer(vertices, tables, camera, channels)

    work: dict[str, Callable[[], object]] = {
        "project": lambda: project(vertices, camera),
        "rasterize, two layers": lambda: rasterize(screen, tables.faces, camera.image_size),
        "eyelid rule": lambda: visible_surface(two_nearest, tables),
        "antialias": lambda: antialias(rgba, fragments, screen, tables.faces, edges),
        "antialias, backward": antialias_and_backward,
        "G-buffer, alpha alone": draw(),
        "G-buffer, all channels": draw(*CHANNELS),
        **{f"G-buffer, alpha + {name}": draw(name) for name in CHANNELS},
        "normals, screen_coords, backward": forward_and_backward,
        "Phong image": lambda: phong_image(vertices, tables.faces, camera),
    }
    return {name: round(_median_ms(function, repeats, vertices.device), 3) for name, function in work.items()}


def _median_ms(function: Callable[[], object], repeats: int, device: torch.device) -> float:
    def run() -> float:
        start = time.perf_counter()
        function()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return 1e3 * (time.perf_counter() - start)

    run()  # warm-up: compiles and fills caches
    return statistics.median(run() for _ in range(repeats))


if __name__ == "__main__":
    run_script(main)
