"""Settings of `nha make`, and the table of its qualities."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nha.core.common_settings import device_setting
from nha.core.config import Settings, setting

DEFAULT_FOLDER = Path("experiments")


@dataclass(frozen=True)
class Quality:
    """A row of the table of qualities.

    Attributes:
        frames: at most so many frames of the video are used, evenly spread; four fifths of them are trained on.
        scale: longer edge of the frames in pixels.
        schedule_frames: training frames that the epochs are meant for; fewer frames get more epochs.
        turntable: views in the turntable video.
        texture_size: side of the exported texture in texels.
        epochs: of the geometry, texture and joint stage; None takes those of configs/blend.ini.
    """

    frames: int
    scale: int
    schedule_frames: int
    turntable: int
    texture_size: int
    epochs: tuple[int, int, int] | None = None


QUALITIES: dict[str, Quality] = {
    "draft": Quality(60, 160, schedule_frames=40, turntable=24, texture_size=256),
    "standard": Quality(200, 256, schedule_frames=100, turntable=60, texture_size=512),
    "best": Quality(800, 512, schedule_frames=400, turntable=120, texture_size=1024),
}


@dataclass(frozen=True)
class MakeSettings(Settings):
    """Settings of an avatar made in one go."""

    video: Path = setting(
        positional=True,
        main=True,
        help="Video of one person, in any format that FFmpeg reads; or images, as for `nha preprocess`.",
    )
    out: Path | None = setting(
        None, main=True, help="Output folder; none is the video's name in the folder experiments."
    )
    quality: Literal["draft", "standard", "best"] = setting(
        "standard",
        main=True,
        help="draft: 60 frames of 160 pixels; standard: 200 of 256; best: 800 of 512.",
    )
    every: int = setting(
        0,
        minimum=0,
        maximum=1000000,
        main=True,
        help="Use every N-th frame of the video; 0: as --max_frames.",
    )
    max_frames: int = setting(
        0,
        minimum=0,
        maximum=1000000,
        main=True,
        help="Use at most N frames, spread over the video; 0: as many as the quality says.",
    )
    head: str = setting("auto", main=True, help="Head model: auto, flame, procedural or a folder.")

    crop_to_head: Literal["true", "auto", "false"] = setting(
        "true",
        section="Dataset",
        help="Crop all frames to the region in which the head moves; auto does so for wide videos only.",
    )
    estimators: str = setting("auto", help="Estimators of the annotations, as for `nha preprocess`.")
    rotate: Literal["auto", "0", "90", "180", "270"] = setting(
        "auto", help="Turn all frames clockwise by this many degrees."
    )
    max_missing: float = setting(
        0.1, minimum=0, maximum=1, help="Share of frames without a face above which the run stops."
    )

    resume: bool = setting(
        True, section="Run", help="Continue an earlier run in the output folder; false removes it first."
    )
    device: str = device_setting()

    @property
    def folder(self) -> Path:
        """The output folder."""
        return self.out or DEFAULT_FOLDER / (self.video.stem or self.video.name or "avatar")

    @property
    def values(self) -> Quality:
        """The row of the quality."""
        return QUALITIES[self.quality]

    def stride(self, n_frames: int) -> int:
        """Every how many frames of a video one is used.

        Args:
            n_frames: number of frames of the video.
        """
        most = self.max_frames or self.values.frames
        needed = -(-n_frames // most)
        if not self.every:
            return max(1, needed)
        return max(self.every, needed) if self.max_frames else self.every
