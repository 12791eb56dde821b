"""Settings of preprocessing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nha.core.config import setting
from nha.core.errors import UserError
from nha.preprocess.registry import parse_selection

SMALLEST_SCALE_PX = 64

# Options that change the dataset: a run can only be resumed with the same values.
CONTENT_OPTIONS = ("scale", "force_square", "crop_to_head", "keep_original_frames", "max_frames")


@dataclass(frozen=True)
class PreprocessOptions:
    """Settings of preprocessing: a portrait video and the dataset folder to make from it."""

    video: Path = setting(help="Video of one person: any file that FFmpeg reads.")
    out_path: Path = setting(help="Dataset folder to make, or to continue.", aliases=("out",))
    estimators: str = setting(
        "auto",
        help="Estimators of landmarks, iris, matting, parsing and normals. mediapipe needs no download, published "
        "needs weight files placed by hand, truth reads the ground truth beside a synthetic video, and auto takes "
        "the best available one for each. Single ones follow as ANNOTATION=NAME: mediapipe,normals=published.",
    )
    weights: Path | None = setting(
        None,
        help="Folder with the weights of the published estimators (rvm, face_parsing, face_normals); none is the "
        "assets folder.",
    )
    parsing_range: Literal["plain", "published"] = setting(
        "plain",
        help="Range of the colours that the published parsing and normal networks receive: plain is 0 to 1; "
        "published is 0.5 to 1, which published datasets were made with.",
    )
    device: str = setting("auto", help="Device of the published estimators: auto, cpu or cuda.")
    scale: int = setting(512, help="Longer edge of the frames in the dataset, pixels.")
    force_square: bool = setting(False, help="Make frames square, with padding if necessary.")
    crop_to_head: bool = setting(False, help="Crop all frames to the region in which the head moves.")
    keep_original_frames: bool = setting(False, help="Also store the unmodified video frames.")
    max_missing: float = setting(
        0.1, help="Share of frames without a face (0 to 1) above which the run stops."
    )
    max_frames: int = setting(0, help="Use only the first frames, this many; 0 uses all.")

    def check(self) -> None:
        """Raise UserError for a number out of its range or an unknown estimator."""
        if self.scale < SMALLEST_SCALE_PX:
            raise UserError(f"--scale {self.scale} is too small: use {SMALLEST_SCALE_PX} or more")
        if not 0 <= self.max_missing <= 1:
            raise UserError(f"--max_missing {self.max_missing} is a share of the frames: use 0 to 1")
        if self.max_frames < 0:
            raise UserError(f"--max_frames {self.max_frames}: use a positive number, or 0 for all frames")
        parse_selection(self.estimators)

    def content(self) -> dict[str, int | bool]:
        """The options that change the content of the dataset."""
        return {name: getattr(self, name) for name in CONTENT_OPTIONS}
