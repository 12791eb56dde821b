"""Settings of `reenact_avatar.py`, and who drives according to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nha.core.config import setting
from nha.core.errors import UserError
from nha.core.names import distinct_names
from nha.evaluation.background import Background


@dataclass(frozen=True, kw_only=True)
class ReenactmentSettings:
    """Settings of `reenact_avatar.py`; the names of the published configuration and of its README."""

    target_ckpt: Path = setting(
        section="Whose face is shown",
        help="Checkpoint of the avatar that is moved.",
        aliases=("target_model",),
    )
    target_tracking_results: Path = setting(
        help="Tracking file of that avatar's video, or its folder.", aliases=("target_tracking_results_path",)
    )
    neutral_target_frame: int | None = setting(
        None, help="Id of a frame in which this person looks neutral; none looks for one, and says which."
    )

    driving_tracking_results: list[Path] = setting(
        [],
        section="Who moves it",
        help="Tracking file of the driving video, or its folder; several give films of their own.",
        aliases=("source_tracking_results", "driving_tracking_results_path"),
    )
    driving_video: list[Path] = setting(
        [],
        help="The driving video: its pictures and sound go into the films. Without driving_tracking_results it is "
        "annotated and tracked first, into the output folder.",
    )
    driving_ckpt: list[Path] = setting(
        [],
        help="Checkpoint of the driving person's avatar, where there is one: its corrections make the motion more "
        "exact, and its picture is shown beside.",
        aliases=("source_model",),
    )
    neutral_driving_frame: list[int] = setting(
        [],
        help="Id of a frame in which that person looks neutral; [] looks for one, and says which.",
        aliases=("neutral_source_frame",),
    )
    driving_estimators: Literal["auto", "mediapipe", "truth", "published"] = setting(
        "auto", help="Who annotates driving_video, see video_to_dataset.py."
    )

    keep_pose: bool = setting(
        False,
        section="How",
        help="Only the face moves; the head stays as in the target's neutral frame.",
    )
    smooth: float = setting(
        0.0,
        help="Smooth the motion over time: standard deviation in frames, 1 to 2 against jitter; 0 does nothing.",
    )
    camera: Literal["target", "driving"] = setting(
        "target",
        help="Whose picture: target shows the head where it is in its own video, driving where the driving head is.",
    )
    background: str = setting(
        "white", help="Colour (white, black, grey, green, blue, #rrggbb), picture or video behind the head."
    )
    sound: bool = setting(True, help="Carry the sound of driving_video over, where it has one.")

    outpath: Path = setting(
        section="Output",
        help="Folder for prediction.mp4, driving.mp4 and side_by_side.mp4 (of several drivings a folder for each in "
        "it); or an .mp4 for the side by side, with the other two beside it.",
        aliases=("out_path",),
    )
    frame_rate: float | None = setting(
        None, help="Frames per second; none takes driving_video's, without one 25.", aliases=("fps",)
    )
    max_frames: int = setting(0, help="Use only that many driving frames; 0 is all of them.")
    batch_size: int = setting(4, help="Frames that are drawn at the same time.")
    head: str | None = setting(
        None, help="Head model of both avatars: flame, procedural or a folder; none takes each one's own."
    )
    device: str = setting("auto", help="auto, cpu or cuda.")
    raster_backend: str = setting(
        "auto", help="Rasteriser: auto, numba, triton, reference or pytorch3d.", aliases=("backend",)
    )

    def check(self) -> None:
        """Raise UserError for what is wrong at first sight: numbers, lists that do not fit, missing files."""
        if self.frame_rate is not None and not 0 < self.frame_rate <= 1000:
            raise UserError(f"--frame_rate must lie in 0..1000, but is {self.frame_rate:g}")
        if self.batch_size < 1 or self.max_frames < 0:
            raise UserError("--batch_size must be at least 1, and --max_frames at least 0")
        if not 0 <= self.smooth <= 100:
            raise UserError(f"--smooth must lie in 0..100 frames, but is {self.smooth:g}")
        n = len(self.driving_tracking_results or self.driving_video)
        if n == 0:
            raise UserError("nothing drives: name --driving_tracking_results, or a --driving_video to track")
        for name in ("driving_video", "driving_ckpt", "neutral_driving_frame"):
            given = len(getattr(self, name))
            if given not in (0, n):
                raise UserError(f"--{name} names {given} for {n} driving people; name one for each, or none")
        for path in (self.target_ckpt, *self.driving_ckpt):
            if not path.is_file():
                raise UserError(f"checkpoint '{path}' is not there")
        Background(self.background, frame_rate=25.0)  # complains of a wrong one before anything is tracked
        if n > 1 and self.outpath.suffix.lower() == ".mp4":
            raise UserError(f"--outpath '{self.outpath}' is one film for {n} driving people; name a folder")


@dataclass(frozen=True)
class ReenactmentFiles:
    """The three films."""

    prediction: Path
    driving: Path
    side_by_side: Path

    @classmethod
    def at(cls, outpath: Path) -> ReenactmentFiles:
        """Their names in a folder, or, for a name that ends in .mp4, beside that file."""
        if outpath.suffix.lower() != ".mp4":
            return cls(outpath / "prediction.mp4", outpath / "driving.mp4", outpath / "side_by_side.mp4")
        return cls(
            outpath.with_name(f"{outpath.stem}_prediction.mp4"),
            outpath.with_name(f"{outpath.stem}_driving.mp4"),
            outpath,
        )

    def __iter__(self):
        return iter((self.prediction, self.driving, self.side_by_side))


@dataclass(frozen=True)
class DrivingPerson:
    """One who drives: name: of its folder where there are several; tracking, checkpoint, video: files, None where not
    given; neutral_frame: None where it is to be found.
    """

    name: str
    tracking: Path | None
    checkpoint: Path | None
    video: Path | None
    neutral_frame: int | None
    files: ReenactmentFiles


def driving_people(settings: ReenactmentSettings) -> list[DrivingPerson]:
    """Everyone who drives. Raises UserError for settings that do not fit each other, see `check`."""
    settings.check()
    key = "driving_video" if settings.driving_video else "driving_tracking_results"
    names = distinct_names(getattr(settings, key), f"--{key}")
    n, out = len(names), settings.outpath
    if n == 1 and not settings.driving_video:
        names = ["driving"]  # a tracking file's name says nothing

    def each(values: Sequence) -> list:
        return list(values) or [None] * n

    return [
        DrivingPerson(*person, ReenactmentFiles.at(out if n == 1 else out / person[0]))
        for person in zip(
            names,
            each(settings.driving_tracking_results),
            each(settings.driving_ckpt),
            each(settings.driving_video),
            each(settings.neutral_driving_frame),
            strict=True,
        )
    ]
