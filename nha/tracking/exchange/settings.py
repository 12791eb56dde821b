"""Settings of `nha import-tracking` and `nha export-tracking`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nha.core.config import Settings, setting

ExportFormat = Literal["vhap", "gaussianavatars", "flame-npz", "arkit-csv"]


@dataclass(frozen=True, kw_only=True)
class ImportSettings(Settings):
    """Import of a tracking of another program."""

    source: Path = setting(
        option="tracking",
        positional=True,
        main=True,
        help="File or folder of VHAP, of its export for GaussianAvatars, of metrical-tracker (.frame), of "
        "flame-head-tracker, or of the NeRSemble benchmark.",
    )
    dataset: Path | None = setting(
        None,
        main=True,
        help="Dataset folder of the same video, whose landmarks the poses are checked with; none skips the check, "
        "which is enough for driving.",
    )
    out: Path = setting(main=True, help="Folder to write tracked_flame_params.npz into.")
    head: str = setting(
        "auto", main=True, help="Head model that the file was made with: auto, flame or a folder."
    )
    cameras: Path | None = setting(None, section="NeRSemble", help="Calibration file camera_params.json.")
    serial: str | None = setting(None, help="Serial number of the camera; none takes the first in the file.")


@dataclass(frozen=True, kw_only=True)
class TrackingExportSettings(Settings):
    """Export of a tracking for other programs."""

    tracking: Path = setting(
        positional=True, main=True, help="Tracking file (tracked_flame_params.npz), or its folder."
    )
    to: ExportFormat = setting(
        main=True,
        help="vhap: its tracked_flame_params; gaussianavatars: a dataset folder for GaussianAvatars; flame-npz: FLAME "
        "parameters in smplx's names; arkit-csv: 52 ARKit coefficients in the format of Live Link Face.",
    )
    out: Path = setting(main=True, help="Folder to write.")
    dataset: Path | None = setting(
        None, main=True, help="Dataset folder: gaussianavatars then gets images and masks too."
    )
    head: str = setting(
        "auto", main=True, help="Head model of the tracking: auto, flame, procedural or a folder."
    )
    frame_rate: float = setting(
        25.0, option="fps", minimum=1e-3, maximum=1000, help="Frames per second of arkit-csv."
    )
