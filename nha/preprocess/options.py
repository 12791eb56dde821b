"""Settings of preprocessing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nha.core.config import Settings, setting

SMALLEST_SCALE_PX = 64

# Those that change what is written: a run can only be continued with the same ones.
CONTENT_OPTIONS = ("scale", "force_square", "crop_to_head", "keep_original_frames", "max_frames")


@dataclass(frozen=True)
class PreprocessOptions(Settings):
    """Settings of preprocessing."""

    video: Path = setting(main=True, help="Video of one person, in any format that FFmpeg reads.")
    out_path: Path = setting(
        option="out", main=True, help="Dataset folder to write, or to continue.", aliases=("dataset",)
    )
    estimators: Literal["auto", "mediapipe", "truth", "published"] = setting(
        "auto",
        main=True,
        help="Annotators: mediapipe needs no download; truth reads the annotations that `nha synthetic` writes beside "
        "its video; published needs weight files that you place in assets; auto takes the best available.",
    )
    weights: Path | None = setting(
        None,
        help="Folder with the published annotators' weights (subfolders rvm, face_parsing, face_normals); none "
        "searches the asset folders.",
    )
    parsing_range: Literal["plain", "published"] = setting(
        "plain",
        help="Colour range of the input of the published parsing and normals: plain is 0 to 1; published is 0.5 to 1, "
        "with which the published datasets were made.",
    )
    device: str = setting("auto", help="Device of the published annotators: auto, cpu or cuda.")
    scale: int = setting(
        512,
        main=True,
        minimum=SMALLEST_SCALE_PX,
        help="Longer edge of the dataset's frames in pixels.",
    )
    force_square: bool = setting(False, help="Make frames square, with padding if necessary.")
    crop_to_head: bool = setting(
        False, main=True, help="Crop all frames to the region in which the head moves."
    )
    keep_original_frames: bool = setting(False, help="Store the unscaled frames of the video, too.")
    max_missing: float = setting(
        0.1, minimum=0, maximum=1, help="Share of frames without a face above which the run stops."
    )
    max_frames: int = setting(0, minimum=0, help="Use only the first N frames; 0 uses all.")

    def content(self) -> dict[str, int | bool]:
        """The options that a dataset's content depends on."""
        return {name: getattr(self, name) for name in CONTENT_OPTIONS}
