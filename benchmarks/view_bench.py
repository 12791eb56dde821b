"""Frame rate of the viewer while the camera moves, while a slider moves, and with adaptive resolution.

    python benchmarks/view_bench.py --ckpt experiments/demo/subject_1/avatar/avatar.ckpt --size 192

The browser is not measured: images are encoded as JPEG and not sent. On the CPU, OMP_NUM_THREADS and
NUMBA_NUM_THREADS set the number of threads.
"""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import torch

from nha.core.command_line import OptionParser
from nha.core.system import run_script
from nha.viewer.adaptive_rendering import ClientRenderer, ResolutionRules
from nha.viewer.scene import AvatarScene, ControlState, RenderRequest, open_scene
from nha.viewer.scene_mesh import SceneMesh
from nha.viewer.viewpoint import Viewpoint, look_from


def main() -> None:
    parser = OptionParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ckpt", required=True, help="checkpoint of the avatar")
    parser.add_argument(
        "--tracking", help="tracking file of its video; default: the one that it was trained with"
    )
    parser.add_argument("--size", type=int, default=192, help="side of the square images in pixels")
    parser.add_argument("--repeats", type=int, default=25, help="images per measurement")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    options = parser.parse_args()
    scene = open_scene(options.ckpt, options.tracking, device=options.device)
    print(
        f"{torch.get_num_threads()} threads, {options.size} x {options.size} pixels, medians of {options.repeats}"
    )

    size = options.size, options.size
    camera = (RenderRequest(ControlState(), view) for view in orbit(scene))
    slider = (RenderRequest(state, scene.viewpoint) for state in talking())
    for name, requests in (("camera moves", camera), ("slider moves", slider)):
        report(name, options.repeats, lambda requests=requests: show(scene, next(requests), size))
    mesh = SceneMesh(scene, 256, clock=itertools.count(1).__next__)
    start = time.perf_counter()
    mesh.bake()
    print(f"{'texture, 256 texels, once':28} {time.perf_counter() - start:8.1f} s")
    states = talking()
    report("3D mesh", options.repeats, lambda: mesh.update(next(states)))

    renderer = ClientRenderer(scene, ResolutionRules(full_height=max(384, options.size)))
    states = talking()
    drawn = [renderer.step(RenderRequest(next(states), scene.viewpoint), 1.5) for _ in range(options.repeats)]
    print(f"{'adaptive resolution, 3 : 2':28} {drawn[-1].rate:8.1f} fps at height {drawn[-1].rgb.shape[0]}")


def orbit(scene: AvatarScene) -> Iterator[Viewpoint]:
    """A camera that moves back and forth in front of the head, endlessly."""
    offset = np.array(scene.viewpoint.position) - scene.centre
    for i in itertools.count():
        angle = 0.6 * math.sin(0.3 * i + 0.1)
        turn = [[math.cos(angle), 0, math.sin(angle)], [0, 1, 0], [-math.sin(angle), 0, math.cos(angle)]]
        yield look_from(scene.centre + np.array(turn) @ offset, scene.centre, scene.viewpoint.fov_rad)


def talking() -> Iterator[ControlState]:
    """A mouth that opens and closes, endlessly."""
    for i in itertools.count():
        yield ControlState({"jaw_open": 5 + 4 * math.sin(0.4 * i)})


def show(scene: AvatarScene, request: RenderRequest, size: tuple[int, int]) -> None:
    """Render and encode one image as the viewer does."""
    rgb = scene.render(request.state, request.viewpoint, size)
    cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])


def report(name: str, repeats: int, action: Callable[[], object]) -> None:
    for _ in range(2):
        action()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - start)
    median = statistics.median(seconds)
    print(f"{name:28} {1000 * median:8.1f} ms {1 / median:8.1f} fps")


if __name__ == "__main__":
    run_script(main)
