"""Settings of a synthetic video."""

from __future__ import annotations

from dataclasses import dataclass

from nha.core.errors import UserError

_SMALLEST_PX, _LARGEST_PX = 32, 2048


@dataclass(frozen=True)
class SyntheticSettings:
    """Settings of `write_subject`.

    Attributes:
        seed: the seed of the person and the motion.
        frames: the number of frames.
        size: (height, width) of the video in pixels, even.
        fps: frames per second.
        head: "auto", "flame", "procedural" or a folder of head model files.
        supersampling: samples per pixel and axis.
        progress: show a progress bar.
    """

    seed: int = 0
    frames: int = 60
    size: tuple[int, int] = (256, 256)
    fps: float = 25.0
    head: str = "procedural"
    supersampling: int = 2
    progress: bool = True

    def check(self) -> None:
        """Raise UserError for a value that is out of range."""
        if not 0 <= self.seed < 2**32:
            raise UserError(f"--seed must lie in 0..{2**32 - 1}, but is {self.seed}")
        if self.frames < 1:
            raise UserError(f"--frames must be at least 1, but is {self.frames}")
        if any(not _SMALLEST_PX <= side <= _LARGEST_PX or side % 2 for side in self.size):
            raise UserError(
                f"--size must be even and {_SMALLEST_PX} to {_LARGEST_PX} pixels, but is {self.size}"
            )
        if not 1 <= self.fps <= 240:
            raise UserError(f"--fps must lie in 1..240, but is {self.fps}")
        if not 1 <= self.supersampling <= 4:
            raise UserError(f"--supersampling must lie in 1..4, but is {self.supersampling}")
