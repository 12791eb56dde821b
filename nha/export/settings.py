"""Settings of `export_avatar.py`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nha.core.config import setting
from nha.core.errors import UserError

Format = Literal["obj", "ply", "glb", "params"]
FORMATS: tuple[Format, ...] = ("obj", "ply", "glb", "params")  # in the order in which they are written


@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """Settings of `export_avatar.py`."""

    ckpt: Path | None = setting(
        section="What is exported",
        help="Checkpoint of the avatar, ours or published.",
        aliases=("checkpoint_file",),
    )
    tracking: Path | None = setting(
        None,
        help="Tracking file of the avatar's video, or its folder: the person's shape, the frames, the animation; "
        "none takes the one that the avatar was trained with, where it is still there.",
        aliases=("tracking_results_path",),
    )
    frames: tuple[int, ...] = setting(
        (), help="Ids of tracked frames that become OBJ and PLY files; none is the person at rest."
    )
    head: str | None = setting(None, help="Head model; none takes the one that the avatar was trained with.")

    out: Path = setting(section="Output", help="Output folder.", aliases=("out_path",))
    formats: tuple[Format, ...] = setting(FORMATS, help="What is written.")
    report: bool = setting(
        False, help="Measure what skinning and baking cost, print it and write it to export.json."
    )

    texture_size: int = setting(512, section="Texture", help="Side of the baked texture in texels.")
    views: int = setting(
        12,
        help="How many tracked frames the texture is seen from (spread over the turns of the head); "
        "0 takes a round trip about the head alone.",
    )
    texture_frame: int | None = setting(
        None, help="Frame whose mouth the GLB's texture shows; none is that of its bind pose."
    )

    bind_frame: int | None = setting(
        None,
        section="GLB",
        help="Frame in whose pose the GLB equals the avatar (neck-dependent offsets, correctives); none is at rest.",
    )
    morphs: int = setting(
        50, help="How many expression coefficients become morph targets: those most used in the tracking."
    )
    animation: bool = setting(True, help="Write the tracked motion and the camera into the GLB.")
    frame_rate: float = setting(25.0, help="Frames per second of the animation.", aliases=("fps",))

    device: str = setting("auto", section="Machine", help="auto, cpu or cuda.")
    raster_backend: str = setting(
        "auto", help="Rasteriser: auto, numba, triton, reference or pytorch3d.", aliases=("backend",)
    )

    def check(self) -> None:
        """Raise UserError for a number out of its range."""
        if not 4 <= self.texture_size <= 8192:
            raise UserError(f"--texture_size must lie in 4..8192, but is {self.texture_size}")
        if self.views < 0 or self.morphs < 0:
            raise UserError("--views and --morphs must not be negative")
        if not 0 < self.frame_rate <= 1000:
            raise UserError(f"--frame_rate must lie in 0..1000, but is {self.frame_rate:g}")
        if not self.formats:
            raise UserError("--formats names nothing to write; name obj, ply, glb or params")
