"""Draw an invented person on video, with every annotation known: OUT/video.mp4 and OUT/truth/."""

from __future__ import annotations

import argparse
from pathlib import Path

from nha.core.command_line import OptionParser
from nha.core.system import run_script
from nha.synthetic.settings import SyntheticSettings
from nha.synthetic.write_dataset import write_subject


def main() -> None:
    defaults = SyntheticSettings()
    parser = OptionParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument(
        "--out", type=Path, required=True, help="folder to write; made where it does not exist"
    )
    parser.add_argument(
        "--seed", type=int, default=defaults.seed, help="which person; the same seed, the same video"
    )
    parser.add_argument("--frames", type=int, default=defaults.frames, help="number of frames")
    parser.add_argument(
        "--size",
        type=int,
        nargs="+",
        default=[defaults.size[0]],
        metavar="PX",
        help="one side for a square, or height and width; even",
    )
    parser.add_argument("--fps", type=float, default=defaults.fps, help="frames per second")
    parser.add_argument(
        "--head", default=defaults.head, help="head model: procedural, flame, auto or a folder"
    )
    parser.add_argument(
        "--supersampling",
        type=int,
        default=defaults.supersampling,
        help="picture samples per pixel and axis, 1 to 4",
    )
    arguments = parser.parse_args()
    if len(arguments.size) > 2:
        parser.error("--size takes one number (square) or two (height width)")
    settings = SyntheticSettings(
        seed=arguments.seed,
        frames=arguments.frames,
        size=(arguments.size[0], arguments.size[-1]),
        fps=arguments.fps,
        head=arguments.head,
        supersampling=arguments.supersampling,
    )
    out = write_subject(arguments.out, settings)
    print(f"video: {out / 'video.mp4'}\ntruth: {out / 'truth'}")


if __name__ == "__main__":
    run_script(main)
