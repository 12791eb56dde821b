"""Settings of `nha reenact` and `reenact_avatar.py`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nha.core.common_settings import device_setting, raster_backend_setting
from nha.core.config import Settings, setting
from nha.core.errors import UserError


@dataclass(frozen=True, kw_only=True)
class ReenactmentSettings(Settings):
    """Settings of a reenactment; the keys are those of the published configuration and of its README."""

    target_ckpt: Path = setting(
        section="Target avatar",
        option="avatar",
        main=True,
        help="Checkpoint of the avatar that is animated, or its folder.",
        aliases=("target_model",),
    )
    target_tracking_results: Path = setting(
        option="tracking",
        main=True,
        help="Tracking file of that avatar's video, or its folder.",
        aliases=("target_tracking_results_path",),
    )
    neutral_target_frame: int | None = setting(
        None,
        help="Frame id in which this person has a neutral expression; none selects one automatically.",
    )

    driving_tracking_results: list[Path] = setting(
        [],
        section="Driving person",
        main=True,
        help="Tracking file of the driving video, or its folder; or a table of ARKit's 52 coefficients (.csv), as Live "
        "Link Face writes it. With several, each one gets its own videos.",
        aliases=("source_tracking_results", "driving_tracking_results_path"),
    )
    driving_video: list[Path] = setting(
        [],
        main=True,
        help="The driving video: its frames are shown beside the result and its sound is copied. Without "
        "driving_tracking_results it is preprocessed and tracked first, into the output folder.",
    )
    driving_ckpt: list[Path] = setting(
        [],
        help="Checkpoint of the driving person's avatar, if there is one: its learned corrections of the tracked "
        "parameters are used, and its rendering is shown beside the result.",
        aliases=("source_model",),
    )
    neutral_driving_frame: list[int] = setting(
        [],
        help="Frame id in which the driving person has a neutral expression; [] selects one automatically.",
        aliases=("neutral_source_frame",),
    )
    driving_estimators: Literal["auto", "mediapipe", "truth", "published"] = setting(
        "auto", help="Annotators for driving_video, see `nha preprocess --help`."
    )

    keep_pose: bool = setting(
        False,
        section="Motion and appearance",
        help="Transfer only the facial motion; the head stays as in the target's neutral frame.",
    )
    smooth: float = setting(
        0.0,
        minimum=0,
        maximum=100,
        help="Standard deviation, in frames, of a Gaussian filter over time; 1 to 2 reduces jitter, 0 turns it off.",
    )
    camera: Literal["target", "driving"] = setting(
        "target",
        help="Camera and head position: those of the target's own video, or those of the driving video.",
    )
    background: str = setting(
        "white",
        help="Colour (white, black, grey, green, blue, #rrggbb), or an image or a video file, behind the head.",
    )
    sound: bool = setting(True, help="Copy the sound of driving_video, if it has any.")

    outpath: Path = setting(
        section="Output",
        option="out",
        main=True,
        help="Folder for prediction.mp4, driving.mp4 and side_by_side.mp4 (with several driving people, a subfolder "
        "for each); or an .mp4 file name for the side-by-side video, with the other two beside it.",
        aliases=("out_path",),
    )
    frame_rate: float | None = setting(
        None,
        option="fps",
        minimum=1e-3,
        maximum=1000,
        help="Frames per second; none takes that of driving_video, or 25 without a video.",
    )
    max_frames: int = setting(0, minimum=0, help="Use only the first N driving frames; 0 uses all.")
    batch_size: int = setting(4, minimum=1, help="Frames rendered at the same time.")
    head: str | None = setting(
        None,
        help="Head model of both avatars: flame, procedural or a folder; none takes the one in each checkpoint.",
    )
    device: str = device_setting()
    raster_backend: str = raster_backend_setting()

    def check(self) -> None:
        """Raise UserError for numbers out of range, lists of different lengths and missing checkpoints."""
        super().check()
        n = len(self.driving_tracking_results or self.driving_video)
        if n == 0:
            raise UserError(
                "no driving person; give --driving_tracking_results, or a --driving_video to track"
            )
        for name in ("driving_video", "driving_ckpt", "neutral_driving_frame"):
            given = len(getattr(self, name))
            if given not in (0, n):
                raise UserError(
                    f"--{name} has {given} values for {n} driving people; give one for each, or none"
                )
        for path in (self.target_ckpt, *self.driving_ckpt):
            if not path.exists():
                raise UserError(f"checkpoint '{path}' does not exist")
        if n > 1 and self.outpath.suffix.lower() == ".mp4":
            raise UserError(f"--outpath '{self.outpath}' is one video for {n} driving people; give a folder")
