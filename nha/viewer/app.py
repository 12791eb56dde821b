"""Starting the viewer: from Python with `view`, as a program with `view_avatar`."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

from nha.avatar.avatar import NeuralHeadAvatar
from nha.data.tracking_file import TrackingResult
from nha.render.rasterize import raster_backend
from nha.viewer.scene import open_scene
from nha.viewer.server import Viewer, import_viser
from nha.viewer.settings import ViewerSettings


def view(
    avatar: NeuralHeadAvatar | str | Path,
    *,
    tracking: TrackingResult | str | Path | None = None,
    driving: TrackingResult | str | Path | None = None,
    **options: Any,
) -> None:
    """Show an avatar in the browser, with a free camera and sliders; returns after Ctrl-C.

    Args:
        avatar: an open avatar or the path of a checkpoint.
        tracking: the tracking of its video: the person's shape, and the frames that can be played. None takes for a
            checkpoint the file that it was trained with, and for an open avatar none.
        driving: the tracking of another person, whose motion is played instead.
        options: further fields of `ViewerSettings`, e.g. `port=8081` or `height=512`.

    Raises:
        UserError: viser is not installed, or settings and files do not fit each other.
    """
    is_path = isinstance(avatar, (str, Path))
    settings = ViewerSettings(ckpt=Path(avatar) if is_path else None, **options)
    _serve(settings, avatar, tracking, driving)


def view_avatar(settings: ViewerSettings) -> None:
    """The program: show an avatar until Ctrl-C or a termination signal. Raises UserError as `view`."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    _serve(settings, settings.ckpt, settings.tracking, settings.driving)


def _serve(
    settings: ViewerSettings,
    avatar: NeuralHeadAvatar | str | Path,
    tracking: TrackingResult | str | Path | None,
    driving: TrackingResult | str | Path | None,
) -> None:
    settings.check()
    import_viser()  # an error before the avatar is opened, which takes seconds
    with raster_backend(settings.raster_backend):
        scene = open_scene(
            avatar,
            tracking,
            head=settings.head,
            n_expressions=settings.expressions,
            device=settings.device,
            driving=driving,
        )
        viewer = Viewer(scene, settings)
        try:
            print(f"open {viewer.url} in a browser; Ctrl-C ends the viewer", flush=True)
            viewer.run()
        except KeyboardInterrupt:
            print("viewer ended")
        finally:
            viewer.close()
