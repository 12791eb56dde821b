"""Settings of `nha synthetic` and `make_synthetic_video.py`."""

from __future__ import annotations

from dataclasses import dataclass

from nha.core.config import Settings, setting
from nha.core.errors import UserError

_SMALLEST_PX, _LARGEST_PX = 32, 2048


@dataclass(frozen=True)
class SyntheticSettings(Settings):
    """Synthetic video."""

    seed: int = setting(
        0,
        main=True,
        minimum=0,
        maximum=2**32 - 1,
        help="Which person, and how it moves; same seed, same video.",
    )
    frames: int = setting(60, main=True, minimum=1, maximum=10**6, help="Number of frames.")
    size: tuple[int, int] = setting(
        (256, 256), main=True, help="Height and width of the video in pixels; even."
    )
    fps: float = setting(25.0, minimum=1, maximum=240, help="Frames per second.")
    head: str = setting("procedural", main=True, help="Head model: procedural, flame, auto or a folder.")
    supersampling: int = setting(2, minimum=1, maximum=4, help="Image samples per pixel and axis.")
    progress: bool = setting(True, help="Show a progress bar.")

    def check(self) -> None:
        """Raise UserError for a value that cannot be rendered."""
        super().check()
        if any(not _SMALLEST_PX <= side <= _LARGEST_PX or side % 2 for side in self.size):
            raise UserError(
                f"--size must be even and {_SMALLEST_PX} to {_LARGEST_PX} pixels, but is {self.size}"
            )
