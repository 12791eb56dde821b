"""Settings of `view_avatar.py`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nha.core.config import setting
from nha.core.errors import UserError


@dataclass(frozen=True, kw_only=True)
class ViewerSettings:
    """Settings of `view_avatar.py`."""

    ckpt: Path | None = setting(
        section="What is shown",
        help="Checkpoint of the avatar, ours or published.",
        aliases=("checkpoint_file",),
    )
    tracking: Path | None = setting(
        None,
        help="Tracking file of the avatar's video, or its folder: the person's shape, and the frames to play; none "
        "takes the one that the avatar was trained with, where it is still there.",
        aliases=("tracking_results_path",),
    )
    driving: Path | None = setting(
        None,
        help="Tracking file of another person, or its folder: its motion is played instead of the own.",
        aliases=("driving_tracking_results",),
    )
    head: str | None = setting(None, help="Head model; none takes the one that the avatar was trained with.")
    expressions: int = setting(10, help="How many sliders for expressions.")
    texture_size: int = setting(
        256, help="Side in texels of the 3D mesh's texture, which is baked when first shown."
    )

    host: str = setting(
        "127.0.0.1",
        section="Server",
        help="Address to listen on. 127.0.0.1 is reached from this machine alone (from another through "
        "'ssh -L 8080:127.0.0.1:8080 NAME'); 0.0.0.0 from the whole network, without any password.",
    )
    port: int = setting(8080, help="Port to listen on; if it is taken, the next free one (which is printed).")
    out: Path = setting(
        Path("experiments/viewer"), help="Folder for saved pictures and films, made when first needed."
    )

    height: int = setting(384, section="Picture", help="Height in pixels of the picture at rest.")
    smallest_height: int = setting(96, help="Height below which it does not go while something moves.")
    target_fps: float = setting(
        10.0, help="Pictures per second that are aimed at while something moves; the size gives way."
    )
    film_height: int = setting(384, help="Height of recorded films in pixels.")
    frame_rate: float = setting(
        25.0, help="Frames per second of played and recorded films.", aliases=("fps",)
    )

    device: str = setting("auto", section="Machine", help="auto, cpu or cuda.")
    raster_backend: str = setting(
        "auto", help="Rasteriser: auto, numba, triton, reference or pytorch3d.", aliases=("backend",)
    )

    def check(self) -> None:
        """Raise UserError for a number out of its range."""
        if not 0 <= self.port <= 65535:
            raise UserError(f"--port must lie in 0..65535, but is {self.port}")
        for name in ("height", "smallest_height", "film_height"):
            if not 16 <= getattr(self, name) <= 4096:
                raise UserError(f"--{name} must lie in 16..4096, but is {getattr(self, name)}")
        for name in ("target_fps", "frame_rate"):
            if not 0 < getattr(self, name) <= 240:
                raise UserError(f"--{name} must lie in 0..240, but is {getattr(self, name):g}")
        if self.expressions < 0:
            raise UserError("--expressions must not be negative")
        if not 4 <= self.texture_size <= 8192:
            raise UserError(f"--texture_size must lie in 4..8192, but is {self.texture_size}")
