"""Comparison of this project with numbers of the published reference.

    python benchmarks/parity.py [--golden DIR] [--tracker DIR] [--networks DIR] [--assets DIR]
                                [--backend numba|triton|reference|pytorch3d] [--json FILE]

Folders of reference numbers:

    --golden     an avatar: golden.npz, scalars.json, avatar.ckpt or avatar.ckpt.xz, tracked_flame_params.npz
    --tracker    the energy of the tracker: golden.npz, scalars.json, tracked_flame_params.npz
    --networks   the networks of the estimators and of the perceptual term: NAME.json with NAME.npz

Sizes, frames and settings are read from these folders. --assets is the folder of the head model that was used for
--golden and --tracker. Prints one row for each quantity and the names of quantities that are not checked. The exit code
is 1 if a row fails.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from nha.avatar.open import avatar_from_checkpoint
from nha.core.command_line import OptionParser
from nha.core.device import set_precision
from nha.core.errors import UserError
from nha.core.json_file import undefined_as_null, write_json
from nha.core.system import run_script
from nha.head.assets import HeadAssets
from nha.head.flame_files import read_head_folder
from nha.render.rasterize import BACKENDS, set_raster_backend, usable_backend
from parity_checks.golden_folder import GoldenFolder
from parity_checks.inference_rows import check_head, check_images, check_surface
from parity_checks.network_rows import check_networks
from parity_checks.report import HEADER, Report
from parity_checks.tracker_rows import check_tracker
from parity_checks.training_rows import check_stages

# The golden README's tolerances: absolute deviation unless the comment says otherwise.
TOLERANCE = {
    "tables": 0.0,
    "uv": 1e-6,
    "soft_label": 2e-3,  # exceeded by at most ...
    "soft_label_count": 20,  # ... so many entries ...
    "soft_label_max": 5e-2,  # ... and by none so far
    "metres": 1e-5,
    "rounded_share": 1e-4,  # of offset vertices may exceed it within the bound of float32 rounding, see rounding.py
    "mouth_conditioning": 1e-4,
    "faces_picked": 4,  # pixels
    "screen_coords": 1e-5,
    "surface": 2e-4,  # for 99.9 % of the foreground pixels ...
    "surface_max": 5e-3,  # ... and for all of them
    "semantics": 1e-3,
    "prep": 1e-6,
    "colour_mean": 2e-5,
    "colour_outlier": 5e-3,  # exceeded by at most ...
    "colour_outlier_share": 1e-4,  # ... this share of the pixels
    "scalar": 1e-4,  # relative
    "edge_loss": 1e-6,
    "gradient": 2e-3,  # |a - b| / |b|
    "gradient_norm": 1e-3,  # relative
    "gradient_cosine": 1e-4,  # the tracker's: 1 - cosine
    # The README gives no numbers for these:
    "gradient_length": 1e-2,  # relative, because a cosine does not depend on scale
    "network": 1e-4,  # of the largest value; "to float32 rounding"
}


def main(argv: list[str] | None = None) -> None:
    """Read the command line, check the given folders, write the report."""
    arguments = parse_arguments(argv)
    device = set_up(arguments.backend)
    report = Report(TOLERANCE)
    print(HEADER)
    assets = None
    if arguments.golden is not None or arguments.tracker is not None:
        assets = read_head_folder(arguments.assets)
    if arguments.golden is not None:
        check_avatar(report, arguments.golden, assets, device)
    if arguments.tracker is not None:
        check_tracker(report, arguments.tracker, assets, device)
    if arguments.networks is not None:
        check_networks(report, arguments.networks)

    if arguments.json is not None:
        write_json(arguments.json, undefined_as_null([row.as_json() for row in report.rows]))
    print(f"{len(report.rows) - len(report.failed)} passed, {len(report.failed)} failed")
    if report.failed:
        print("failed: " + ", ".join(report.failed))
        sys.exit(1)


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line. Raises UserError where there is nothing to check."""
    parser = OptionParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--golden", type=Path, help="folder of the avatar's numbers")
    parser.add_argument("--tracker", type=Path, help="folder of the tracker's numbers")
    parser.add_argument("--networks", type=Path, help="folder of networks' numbers")
    parser.add_argument("--assets", type=Path, help="folder of the head model's files")
    parser.add_argument("--backend", default="auto", choices=BACKENDS, help="rasteriser")
    parser.add_argument("--json", type=Path, help="file to write the rows to, as a list of objects")
    arguments = parser.parse_args(argv)
    if arguments.golden is arguments.tracker is arguments.networks is None:
        raise UserError("nothing to check; pass --golden, --tracker or --networks DIR (see --help)")
    if arguments.assets is None and (arguments.golden or arguments.tracker):
        raise UserError("--golden and --tracker need --assets DIR, the head model of the reference numbers")
    return arguments


def set_up(backend: str) -> torch.device:
    """Set the raster backend and full float32 precision.

    Returns:
        The device: CUDA for Triton where it is available, else the CPU.

    Raises:
        UserError: the backend cannot be used on this machine.
    """
    device = torch.device("cuda" if backend == "triton" and torch.cuda.is_available() else "cpu")
    usable_backend(backend, device)
    set_raster_backend(backend)
    set_precision("highest")  # the ten bits of mantissa of tf32 would cause the largest deviation
    return device


def check_avatar(report: Report, folder: Path, assets: HeadAssets, device: torch.device) -> None:
    """Check every quantity of an avatar's folder."""
    golden = GoldenFolder(folder)
    avatar = avatar_from_checkpoint(golden.checkpoint, assets, device)
    check_head(report, golden, avatar.head)
    check_surface(report, golden, avatar)
    check_images(report, golden, avatar)
    check_stages(report, golden, avatar)
    report.rest_not_checked(golden.quantities(), "there is no check for it")


if __name__ == "__main__":
    run_script(main)
