"""Input and output files of a reenactment, one record for each driving person."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nha.core.names import distinct_names
from nha.reenactment.background import Background
from nha.reenactment.settings import ReenactmentSettings


@dataclass(frozen=True)
class ReenactmentFiles:
    """Paths of the files of one driving person; iterating gives the three videos.

    Attributes:
        prediction: the animated avatar before the background.
        driving: the driving person.
        side_by_side: both beside each other, with captions.
        motion: JSON file, how far mouth and eyelids open compared with the driving person's.
        are_in_own_folder: whether their folder holds nothing else.
    """

    prediction: Path
    driving: Path
    side_by_side: Path
    motion: Path
    are_in_own_folder: bool = True

    @classmethod
    def at(cls, outpath: Path) -> ReenactmentFiles:
        """The paths in a folder; if `outpath` ends in .mp4, that file and the others beside it."""
        if outpath.suffix.lower() != ".mp4":
            names = ("prediction.mp4", "driving.mp4", "side_by_side.mp4", "motion.json")
            return cls(*(outpath / name for name in names))
        return cls(
            outpath.with_name(f"{outpath.stem}_prediction.mp4"),
            outpath.with_name(f"{outpath.stem}_driving.mp4"),
            outpath,
            outpath.with_name(f"{outpath.stem}_motion.json"),
            are_in_own_folder=False,
        )

    @property
    def folder(self) -> Path:
        """The folder of the videos."""
        return self.prediction.parent

    def __iter__(self) -> Iterator[Path]:
        return iter((self.prediction, self.driving, self.side_by_side))


@dataclass(frozen=True)
class DrivingPerson:
    """The files of one driving person; an input that was not given is None.

    Attributes:
        name: short name, also of the output folder when there are several people.
        tracking: tracking file or its folder.
        checkpoint: the person's own avatar.
        video: the driving video.
        neutral_frame: id of a frame with a neutral expression; None to select one automatically.
        files: the videos to write.
    """

    name: str
    tracking: Path | None
    checkpoint: Path | None
    video: Path | None
    neutral_frame: int | None
    files: ReenactmentFiles


def driving_people(settings: ReenactmentSettings) -> list[DrivingPerson]:
    """Return one record for each driving person.

    Raises:
        UserError: for settings that `ReenactmentSettings.check` rejects, and for a background that cannot be read.
    """
    settings.check()
    Background(settings.background, frame_rate=25.0)  # a wrong background is reported before any tracking
    key = "driving_video" if settings.driving_video else "driving_tracking_results"
    names = distinct_names(getattr(settings, key), f"--{key}")
    n, out = len(names), settings.outpath
    if n == 1 and not settings.driving_video:
        names = ["driving"]  # all tracking files have the same name

    def one_per_person(values: Sequence) -> list:
        return list(values) or [None] * n

    return [
        DrivingPerson(*person, ReenactmentFiles.at(out if n == 1 else out / person[0]))
        for person in zip(
            names,
            one_per_person(settings.driving_tracking_results),
            one_per_person(settings.driving_ckpt),
            one_per_person(settings.driving_video),
            one_per_person(settings.neutral_driving_frame),
            strict=True,
        )
    ]
