"""Settings of preprocessing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nha.core.config import setting
from nha.core.errors import UserError

SMALLEST_SCALE_PX = 64

# Those that change what is written: a run can only be continued with the same ones.
CONTENT_OPTIONS = ("scale", "force_square", "crop_to_head", "keep_original_frames", "max_frames")


@dataclass(frozen=True)
class PreprocessOptions:
    """Settings of `video_to_dataset.py`."""

    video: Path = setting(help="Video of one person: any file that FFmpeg reads.")
    out_path: Path = setting(help="Dataset folder to make, or to continue.", aliases=("out",))
    estimators: Literal["auto", "mediapipe", "truth", "published"] = setting(
        "auto",
        help="Who annotates: mediapipe needs no download; truth reads what make_synthetic_video.py writes "
        "beside its video; published needs weights placed by hand; auto takes the best that is there.",
    )
    weights: Path | None = setting(
        None,
        help="Folder of the published annotators' weights (rvm, face_parsing, face_normals in it); none is "
        "assets of this checkout.",
    )
    parsing_range: Literal["plain", "published"] = setting(
        "plain",
        help="Colours that the published parsing and normals see: plain is 0 to 1, published 0.5 to 1, which "
        "published datasets were made from.",
    )
    device: str = setting("auto", help="Where the published annotators run: auto, cpu or cuda.")
    scale: int = setting(512, help="Longer edge of the frames in the dataset, pixels.")
    force_square: bool = setting(False, help="Make frames square, with padding where nothing else helps.")
    crop_to_head: bool = setting(
        False, help="Cut out the region in which the head moves, the same in all frames."
    )
    keep_original_frames: bool = setting(False, help="Store the video's frames as they are, too.")
    max_missing: float = setting(
        0.1, help="Share of frames without a face (0 to 1) above which the run stops."
    )
    max_frames: int = setting(0, help="Use only that many frames; 0 is all of them.")

    def check(self) -> None:
        """Raise UserError for a number out of its range."""
        if self.scale < SMALLEST_SCALE_PX:
            raise UserError(f"--scale {self.scale} is too small: use {SMALLEST_SCALE_PX} or more")
        if not 0 <= self.max_missing <= 1:
            raise UserError(f"--max_missing {self.max_missing} is a share of the frames: use 0 to 1")
        if self.max_frames < 0:
            raise UserError(f"--max_frames {self.max_frames}: use a positive number, or 0 for all frames")

    def content(self) -> dict[str, int | bool]:
        """The options that a dataset's content depends on."""
        return {name: getattr(self, name) for name in CONTENT_OPTIONS}
