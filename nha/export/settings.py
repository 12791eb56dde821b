"""Settings of `nha export` and `export_avatar.py`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nha.core.common_settings import (
    checkpoint_head_setting,
    checkpoint_setting,
    device_setting,
    raster_backend_setting,
)
from nha.core.config import Settings, setting
from nha.core.errors import UserError

Format = Literal["obj", "ply", "glb", "html", "params"]
# In the order in which they are written.
FORMATS: tuple[Format, ...] = ("obj", "ply", "glb", "html", "params")


@dataclass(frozen=True, kw_only=True)
class ExportSettings(Settings):
    """Settings of an export."""

    ckpt: Path | None = checkpoint_setting(section="Input")
    tracking: Path | None = setting(
        None,
        main=True,
        help="Tracking file of the avatar's video, or its folder: the person's shape, the frames and the animation; "
        "none takes the file that the avatar was trained with, if it still exists.",
        aliases=("tracking_results_path",),
    )
    frames: tuple[int, ...] = setting(
        (), help="Ids of tracked frames to write as OBJ and PLY files; [] writes the neutral head."
    )
    head: str | None = checkpoint_head_setting()

    out: Path = setting(section="Output", main=True, help="Output folder.", aliases=("out_path",))
    formats: tuple[Format, ...] = setting(FORMATS, main=True, help="File formats to write.")
    report: bool = setting(
        False, help="Measure the errors of skinning and baking, print them and write them to export.json."
    )

    texture_size: int = setting(
        512, section="Texture", minimum=4, maximum=8192, help="Side of the baked texture in texels."
    )
    views: int = setting(
        12,
        minimum=0,
        help="Number of tracked frames that the texture is baked from, spread over the head's rotations; 0 uses "
        "cameras on a circle around the head instead.",
        maximum=1000,
    )
    texture_frame: int | None = setting(
        None, help="Frame whose mouth interior the GLB's texture shows; none takes the bind pose."
    )

    bind_frame: int | None = setting(
        None,
        section="GLB",
        help="Frame whose pose is the bind pose, in which the GLB equals the avatar; none takes the neutral pose.",
    )
    morphs: int = setting(
        50,
        minimum=0,
        help="Number of morph targets: the expression coefficients most used in the tracking.",
        maximum=1000,
    )
    shapes: Literal["expressions", "arkit"] = setting(
        "expressions",
        help="Morph targets of the GLB. expressions: the head model's coefficients and a blink, exact in the "
        "animation; arkit: ARKit's 52 shapes, which include jaw and eyes and approximate the animation.",
    )
    material: Literal["unlit", "lit"] = setting(
        "unlit",
        help="unlit: the GLB shows the texture's colours unchanged, which contain the video's light; lit: it is lit by "
        "the scene, and the blend model's texture leaves out the video's light.",
    )
    animation: bool = setting(True, help="Write the tracked motion and the camera to the GLB.")
    frame_rate: float = setting(
        25.0, option="fps", minimum=1e-3, maximum=1000, help="Frames per second of the animation."
    )

    device: str = device_setting(section="Machine")
    raster_backend: str = raster_backend_setting()

    def check(self) -> None:
        """Raise UserError for a number out of its range, no formats, and options that exclude each other."""
        super().check()
        if not self.formats:
            raise UserError("--formats names no format; give obj, ply, glb, html or params")
        if self.shapes == "arkit" and self.bind_frame is not None:
            raise UserError(
                "--bind_frame does not go with --shapes arkit, whose shapes start at the neutral face; leave it out"
            )
