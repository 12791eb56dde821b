"""Settings of `nha view` and `view_avatar.py`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nha.core.common_settings import (
    checkpoint_head_setting,
    checkpoint_setting,
    device_setting,
    raster_backend_setting,
)
from nha.core.config import Settings, nested, setting
from nha.live.settings import LiveSettings


@dataclass(frozen=True, kw_only=True)
class ViewerSettings(Settings):
    """Settings of the viewer."""

    ckpt: Path | None = checkpoint_setting(section="Input")
    tracking: Path | None = setting(
        None,
        main=True,
        help="Tracking file of the avatar's video, or its folder: the person's shape and the frames to play; none "
        "takes the file that the avatar was trained with, if it still exists.",
        aliases=("tracking_results_path",),
    )
    driving: Path | None = setting(
        None,
        main=True,
        help="Tracking file of another person, or its folder, whose motion is played instead.",
        aliases=("driving_tracking_results",),
    )
    head: str | None = checkpoint_head_setting()
    pose: str | None = setting(
        None,
        help="Pose that is shown first: a pose file that the viewer has saved, or values of sliders such as "
        "'frame=12 jaw_open=20'.",
    )
    expressions: int = setting(10, minimum=0, help="Number of expression sliders.", maximum=1000)
    texture_size: int = setting(
        256,
        minimum=4,
        maximum=8192,
        help="Side in texels of the 3D mesh's texture, which is baked when the mesh is first shown.",
    )

    host: str = setting(
        "127.0.0.1",
        section="Server",
        help="Address to listen on. 127.0.0.1 can be reached from this machine only (from another one through "
        "'ssh -L 8080:127.0.0.1:8080 NAME'), 0.0.0.0 from the whole network, unencrypted: everybody who gets the "
        "printed address can watch.",
    )
    allow: list[str] = setting(
        [],
        help="Further names of this machine under which browsers may address the viewer, such as pc.example.org; may "
        "be repeated. Its IP addresses and localhost need no permission.",
    )
    port: int = setting(
        8080,
        main=True,
        minimum=0,
        maximum=65535,
        help="Port to listen on; if it is in use, the next free one is taken and printed.",
    )
    out: Path = setting(
        Path("experiments/viewer"),
        main=True,
        help="Folder for saved images and videos; created when first needed.",
    )

    height: int = setting(
        384,
        section="Image",
        minimum=16,
        maximum=4096,
        help="Height in pixels of the image while nothing moves.",
    )
    min_height: int = setting(
        96,
        aliases=("smallest_height",),
        minimum=16,
        maximum=4096,
        help="Smallest height in pixels while something moves.",
    )
    target_fps: float = setting(
        10.0,
        minimum=1e-3,
        maximum=240,
        help="Target frames per second while something moves (with --live at least 25); the resolution drops to hold "
        "this rate.",
    )
    video_height: int = setting(
        384,
        aliases=("film_height",),
        minimum=16,
        maximum=4096,
        help="Height of recorded videos in pixels.",
    )
    frame_rate: float = setting(
        25.0,
        option="fps",
        minimum=1e-3,
        maximum=240,
        help="Frames per second of played and recorded videos.",
    )

    live_driving: LiveSettings = nested(LiveSettings)

    device: str = device_setting(section="Machine")
    raster_backend: str = raster_backend_setting()
