"""Settings of live driving, which `nha view` takes too."""

from __future__ import annotations

from dataclasses import dataclass

from nha.core.config import Settings, setting


@dataclass(frozen=True, kw_only=True)
class LiveSettings(Settings):
    """Live driving."""

    live: str | None = setting(
        None,
        main=True,
        help="Drive the avatar with a face: number of a camera (0 is the first one), or a video file, which is played "
        "at its speed and repeated.",
    )
    live_calibration: float = setting(
        1.0,
        minimum=0,
        maximum=60,
        help="Seconds from the first image with a face in which the driving person's neutral face is found.",
    )
    live_smoothing: float = setting(
        1.0,
        minimum=0,
        maximum=10,
        help="Strength of the smoothing: more moves with less jitter and more delay, 0 turns it off.",
    )
    live_mirror: bool = setting(
        False, help="Mirror the motion: the avatar turns to the same side of the screen as a mirror image."
    )
