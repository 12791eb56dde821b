"""Settings of the commands that are not the settings of a package."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nha.core.config import Settings, setting
from nha.core.errors import UserError
from nha.synthetic.settings import SyntheticSettings


@dataclass(frozen=True)
class DemoSettings(Settings):
    """Demo."""

    out: Path = setting(Path("experiments/demo"), main=True, help="Output folder.")
    frames: int = setting(40, main=True, minimum=8, help="Number of frames of each video.", maximum=1000000)
    size: int = setting(
        160, main=True, help="Height and width of the videos in pixels; even.", minimum=32, maximum=2048
    )
    seeds: tuple[int, int] = setting(
        (1, 2),
        main=True,
        help="Seeds of the two people; the second person animates the avatar of the first.",
        minimum=0,
        maximum=2**32 - 1,
    )
    quick: bool = setting(
        False, main=True, help="One epoch per stage and few tracking steps: a test run, not a result."
    )
    published: bool = setting(
        False, main=True, help="Train the published model (configuration demo) instead of the blend model."
    )
    annotations: Literal["truth", "mediapipe"] = setting(
        "truth",
        section="Details",
        help="truth takes the annotations from the renderer, without error; mediapipe estimates them from the images, "
        "as for a video of your own.",
    )
    optimization: Path | None = setting(
        None, help="Settings of the avatars' training: an INI file or a short name; none takes blend or demo."
    )

    def check(self) -> None:
        """Raise UserError for numbers out of range."""
        super().check()
        if self.seeds[0] == self.seeds[1]:
            raise UserError("--seeds must be two different numbers: one person animates the other")

    @property
    def training(self) -> Path:
        """The settings of the avatars' training: an INI file or a short name."""
        return self.optimization or Path("demo" if self.published else "blend")


@dataclass(frozen=True, kw_only=True)
class SyntheticVideoSettings(SyntheticSettings):
    """Synthetic video."""

    out: Path = setting(main=True, help="Folder to write; created if it does not exist.")
    size: tuple[int, ...] = setting(
        (256,),
        main=True,
        help="Size in pixels: one number for a square, or height and width; even.",
    )

    def check(self) -> None:
        """Raise UserError for a value that cannot be rendered."""
        self.video().check()

    def video(self) -> SyntheticSettings:
        """The settings of the video alone."""
        if len(self.size) not in (1, 2):
            raise UserError("--size takes one number (square) or two (height width)")
        names = ("seed", "frames", "fps", "head", "supersampling", "progress")
        size = (self.size[0], self.size[-1])
        return SyntheticSettings(size=size, **{name: getattr(self, name) for name in names})


@dataclass(frozen=True)
class DatasetCheckSettings(Settings):
    """Dataset check."""

    data: Path = setting(option="dataset", positional=True, main=True, help="Dataset folder.")
    tracking: Path | None = setting(
        None, main=True, help="Tracking file that is checked against the dataset."
    )
    report: Path | None = setting(
        None, option="out", main=True, help="HTML file with the worst frames to write."
    )
    split: Path | None = setting(
        None, main=True, help="Split that is checked; none takes split.json of the dataset folder."
    )
    make_split: Path | None = setting(
        None, main=True, help="JSON file to write: a split of the frames without findings."
    )
    val_share: float = setting(0.2, section="New split", help="Share of held-out frames, between 0 and 1.")
    gap: int = setting(
        10, minimum=0, help="Number of frames left out on either side of held-out ones.", maximum=1000000
    )
    every: int = setting(1, minimum=1, maximum=1000000, help="Train on every N-th training frame only.")
    max_frames: int = setting(
        0, minimum=0, maximum=1000000, help="Train on at most N frames, spread over the video; 0 uses all."
    )

    def check(self) -> None:
        """Raise UserError for numbers out of range."""
        super().check()
        if not 0 < self.val_share < 1:
            raise UserError(f"--val_share {self.val_share:g} is a share of the frames: use 0 to 1")


@dataclass(frozen=True)
class WeightsCheckSettings(Settings):
    """Weights check."""

    require: list[str] = setting(
        [], main=True, help="Names of entries that must load; else the exit code is 2. May be repeated."
    )
    weights: Path | None = setting(
        None, main=True, help="Folder to search instead of the asset folders ($NHA_ASSETS, assets)."
    )


@dataclass(frozen=True)
class HeadInspectionSettings(Settings):
    """Head inspection."""

    path: str = setting(
        option="head",
        positional=True,
        main=True,
        help="Head model: a folder of head model files, a .pkl file, flame, procedural or auto.",
    )
    out: Path | None = setting(
        None, main=True, help="PNG image to write; none is head_NAME.png in the working directory."
    )

    def check(self) -> None:
        """Raise UserError for an output file that is not a PNG image."""
        if self.out is not None and self.out.suffix.lower() != ".png":
            raise UserError(f"the image is written as PNG; use a name that ends in .png, not '{self.out}'")


@dataclass(frozen=True)
class HeadGenerationSettings(Settings):
    """Head generation."""

    out: Path | None = setting(
        None,
        main=True,
        help="Folder to write; a procedural head in it is replaced. None is assets/procedural.",
    )
    preview: Path | None = setting(
        None, main=True, help="PNG image to write: views, expressions and identities."
    )


@dataclass(frozen=True)
class ConversionSettings(Settings):
    """Conversion."""

    input: Path = setting(
        option="avatar", positional=True, main=True, help="Checkpoint to read, ours or published."
    )
    output: Path = setting(option="out", positional=True, main=True, help="Checkpoint to write.")
    to: Literal["published", "nha"] = setting(main=True, help="Layout to write.")
    head: Path | None = setting(
        None,
        main=True,
        help="Folder of FLAME's files; needed for --to published if the checkpoint lacks the head model's tables.",
    )
