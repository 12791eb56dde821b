"""Frame rate and latency of live driving, with the time of each part.

    python benchmarks/live_bench.py --ckpt experiments/me/avatar/avatar.ckpt --video talk.mp4 --size 256

The video is played at its speed, as `nha view --live talk.mp4` does; images are encoded as JPEG and not sent, so the
browser is not measured. Two threads work: one follows the face, one renders. The parts' times contain the waiting for
the other thread. On the CPU, OMP_NUM_THREADS and NUMBA_NUM_THREADS set the number of threads of each.
"""

from __future__ import annotations

import statistics
import time

import cv2
import torch

from nha.core.command_line import OptionParser
from nha.core.system import run_script
from nha.live.session import LiveSession, open_live


def main() -> None:
    parser = OptionParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ckpt", required=True, help="checkpoint of the avatar")
    parser.add_argument("--video", required=True, help="video of a face, or number of a camera")
    parser.add_argument("--size", type=int, default=256, help="side of the square images in pixels")
    parser.add_argument(
        "--seconds", type=float, default=12.0, help="how long to measure, after the calibration"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    options = parser.parse_args()
    with open_live(options.ckpt, options.video, device=options.device, repeat=True) as live:
        report(measure(live, options.size, options.seconds), options.size)


def measure(live: LiveSession, size: int, seconds: float) -> dict[str, list[float]]:
    """Times in seconds of each part, of each image that was rendered after the calibration, and when it was shown."""
    times: dict[str, list[float]] = {}
    images = live.images((size, size))
    first_number = first_read = number = 0
    end = None
    while end is None or time.perf_counter() < end:
        asked = time.perf_counter()
        image = next(images)
        rendered = time.perf_counter()
        cv2.imencode(".jpg", image.rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
        shown = time.perf_counter()
        if image.pose.status == "calibrating":
            continue
        if end is None:
            end, first_number, first_read = shown + seconds, image.pose.number, live.source.n_read
            continue
        number = image.pose.number
        parts = {
            **image.pose.seconds,
            "wait and render": rendered - asked,
            "encode": shown - rendered,
            "latency": shown - image.pose.time_s,
            "shown": shown,
        }
        for name, value in parts.items():
            times.setdefault(name, []).append(value)
    times["followed"] = [number - first_number]
    times["read"] = [live.source.n_read - first_read]
    return times


def report(times: dict[str, list[float]], size: int) -> None:
    """Print medians and 95th percentiles."""
    shown = times.pop("shown")
    followed, read = int(times.pop("followed")[0]), int(times.pop("read")[0])
    print(f"{size} x {size} pixels, {torch.get_num_threads()} threads for each of two parts")
    for name, values in times.items():
        p50, p95 = statistics.median(values), statistics.quantiles(values, n=20)[-1]
        print(f"{name:16} {1000 * p50:7.1f} ms   95 %: {1000 * p95:7.1f} ms")
    span = shown[-1] - shown[0]
    print(f"{len(shown)} images in {span:.1f} s: {(len(shown) - 1) / span:.1f} fps shown")
    print(f"{read} images of the source, {followed} followed, {read - followed} dropped")


if __name__ == "__main__":
    run_script(main)
