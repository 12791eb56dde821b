"""Settings of preprocessing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nha.core.config import Settings, setting
from nha.preprocess.registry import parse_selection

SMALLEST_SCALE_PX = 64

# Options that change the dataset: a run can only be resumed with the same values.
CONTENT_OPTIONS = (
    "scale", "force_square", "crop_to_head", "keep_original_frames", "every", "max_frames", "rotate"
)  # fmt: skip


@dataclass(frozen=True)
class PreprocessOptions(Settings):
    """Settings of preprocessing: a portrait video and the dataset folder to make from it."""

    video: Path = setting(
        main=True,
        help="Video of one person, in any format that FFmpeg reads; or images: a folder, DIR/%05d.png or 'DIR/*.png'.",
    )
    out_path: Path = setting(
        option="out", main=True, help="Dataset folder to write, or to continue.", aliases=("dataset",)
    )
    estimators: str = setting(
        "auto",
        main=True,
        help="Estimators of landmarks, iris, matting, parsing and normals. mediapipe needs no download, published "
        "needs weight files that you place in assets, truth reads the ground truth beside a synthetic video, and auto "
        "takes the best available one for each. Single ones follow as ANNOTATION=NAME: mediapipe,normals=published.",
    )
    weights: Path | None = setting(
        None,
        help="Folder with the weights of the published estimators (subfolders rvm, face_parsing, face_normals); none "
        "searches the asset folders.",
    )
    parsing_range: Literal["plain", "published"] = setting(
        "plain",
        help="Colour range of the input of the published parsing and normals: plain is 0 to 1; published is 0.5 to 1, "
        "with which the published datasets were made.",
    )
    device: str = setting("auto", help="Device of the published estimators: auto, cpu or cuda.")
    scale: int = setting(
        512,
        main=True,
        minimum=SMALLEST_SCALE_PX,
        help="Longer edge of the dataset's frames in pixels.",
        maximum=8192,
    )
    force_square: bool = setting(False, help="Make frames square, with padding if necessary.")
    crop_to_head: Literal["auto", "true", "false"] = setting(
        "auto",
        main=True,
        help="Crop all frames to the region in which the head moves: true, false, or auto, which does so if that "
        "region is shorter than two thirds of the frame's shorter edge.",
    )
    rotate: Literal["auto", "0", "90", "180", "270"] = setting(
        "auto",
        help="Turn all frames clockwise by this many degrees, besides what the file's metadata says; auto turns "
        "nothing and stops if the faces lie on their side or are upside down.",
    )
    keep_original_frames: bool = setting(False, help="Store the unscaled frames of the video, too.")
    max_missing: float = setting(
        0.1, minimum=0, maximum=1, help="Share of frames without a face above which the run stops."
    )
    every: int = setting(
        1,
        minimum=1,
        maximum=1000000,
        help="Use only every N-th frame; frames keep their numbers in the video.",
    )
    max_frames: int = setting(0, minimum=0, help="Use at most N frames, from the start; 0 uses all.")

    def __post_init__(self) -> None:
        if isinstance(self.rotate, int):
            object.__setattr__(self, "rotate", str(self.rotate))
        if isinstance(self.crop_to_head, bool):  # as Python code may write it
            object.__setattr__(self, "crop_to_head", str(self.crop_to_head).lower())

    def check(self) -> None:
        """Raise UserError for a number out of its range or an unknown estimator."""
        super().check()
        parse_selection(self.estimators)

    @property
    def quarter_turns(self) -> int:
        """Quarter turns clockwise that `rotate` asks for."""
        return 0 if self.rotate == "auto" else int(self.rotate) // 90

    def content(self) -> dict[str, int | str | bool]:
        """The options that change the content of the dataset."""
        content = {name: getattr(self, name) for name in CONTENT_OPTIONS}
        crop = content["crop_to_head"]  # earlier releases wrote a truth value
        return {**content, "crop_to_head": crop if crop == "auto" else crop == "true"}
