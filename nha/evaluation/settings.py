"""Settings of `nha evaluate` and `nha compare`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nha.core.common_settings import device_setting, raster_backend_setting
from nha.core.config import Settings, nested, setting
from nha.core.errors import UserError
from nha.data.settings import DataSettings


@dataclass(frozen=True)
class EvaluationSettings(Settings):
    """Settings of an evaluation."""

    ckpt: list[Path] = setting(
        section="Input",
        option="avatar",
        main=True,
        help="Checkpoint of the avatar, ours or published; several are compared.",
        aliases=("checkpoint_file",),
    )
    split: Literal["train", "val", "all"] = setting(
        "all", main=True, help="Which part of the split is evaluated."
    )
    further_tracking_results: list[Path] = setting(
        [],
        help="Tracking files of the second and later checkpoints, if they differ from that of the first (avatars with "
        "other head models).",
    )
    out: Path | None = setting(
        None,
        main=True,
        help="Output folder; none is the folder 'evaluation' beside the (first) checkpoint.",
        aliases=("out_path",),
    )
    head: str | None = setting(None, help="Head model; none takes the one that each avatar was trained with.")

    novel_views: list[float] = setting(
        [0.0, -30.0, -60.0],
        section="Videos",
        help="Angles in degrees by which the head is turned in novel_views.mp4; [] writes no such video.",
        minimum=-360,
        maximum=360,
    )
    novel_view_frames: int = setting(
        50,
        minimum=0,
        help="Number of evaluated frames in novel_views.mp4, counted from the end; 0 uses all.",
        maximum=1000000,
    )
    turntable: int = setting(
        60,
        minimum=0,
        help="Number of views in turntable.mp4, once around the head; 0 writes no such video.",
        maximum=1000000,
    )
    images: bool = setting(False, help="Write the images of novel_views.mp4 as PNG files too.")
    frame_rate: float = setting(
        25.0, option="fps", minimum=1e-3, maximum=1000, help="Frames per second of the videos."
    )

    batch_size: int = setting(
        4, section="Run", minimum=1, help="Frames rendered at the same time.", maximum=4096
    )
    device: str = device_setting()
    raster_backend: str = raster_backend_setting()
    data: DataSettings = nested(DataSettings)

    IGNORED = DataSettings.IGNORED

    def check(self) -> None:
        """Raise UserError for numbers out of range and lists of different lengths."""
        super().check()
        if not self.ckpt:
            raise UserError("--avatar names no checkpoint; give at least one")
        n_further = len(self.ckpt) - 1
        if self.further_tracking_results and len(self.further_tracking_results) != n_further:
            raise UserError(
                f"--further_tracking_results names {len(self.further_tracking_results)} files for {n_further} further "
                "checkpoints; name one for each, or none"
            )


@dataclass(frozen=True, kw_only=True)
class ComparisonSettings(Settings):
    """Settings of a comparison of two avatars."""

    avatar: Path = setting(
        positional=True,
        main=True,
        help="First avatar: a checkpoint, or a folder of `nha train` or `nha make`.",
    )
    other: Path = setting(positional=True, main=True, help="Second avatar.")
    dataset: Path | None = setting(
        None, main=True, help="Dataset folder; none takes the one that the first avatar was trained on."
    )
    tracking: list[Path] = setting(
        [],
        main=True,
        help="Tracking file of both avatars, or one for each; none takes those that they were trained with.",
    )
    out: Path | None = setting(
        None, main=True, help="Output folder; none is the folder 'comparison' beside the first avatar."
    )
    max_frames: int = setting(
        0,
        minimum=0,
        maximum=1000000,
        main=True,
        help="Compare at most N held-out frames, spread; 0 uses all.",
    )
    batch_size: int = setting(
        4, section="Run", minimum=1, help="Frames rendered at the same time.", maximum=4096
    )
    device: str = device_setting()
    raster_backend: str = raster_backend_setting()

    def check(self) -> None:
        """Raise UserError for numbers out of range and for more than two tracking files."""
        super().check()
        if len(self.tracking) > 2:
            raise UserError("--tracking names more than two files; give one for both avatars, or two")
