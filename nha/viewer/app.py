"""Starting the viewer: from Python with `view`, as a program with `view_avatar`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from nha.avatar.base import HeadAvatar
from nha.core.signals import StoppedError
from nha.data.tracked_video import Tracking
from nha.live.driver import LiveDriver
from nha.live.session import LiveSession
from nha.live.sources import open_source
from nha.render.rasterize import raster_backend
from nha.viewer.access import is_loopback
from nha.viewer.saved_pose import open_pose
from nha.viewer.scene import open_scene
from nha.viewer.server import Viewer, import_viser
from nha.viewer.settings import ViewerSettings


def view(
    avatar: HeadAvatar | str | Path,
    *,
    tracking: Tracking | str | Path | None = None,
    driving: Tracking | str | Path | None = None,
    **settings: Any,
) -> None:
    """Show an avatar in the browser, with a free camera and sliders; returns after Ctrl-C.

    Args:
        avatar: an open avatar, or the path of a checkpoint.
        tracking: tracking of its video: the person's shape, and the frames that can be played. None takes for a
            checkpoint the file that it was trained with, if it still exists, and for an open avatar none.
        driving: tracking of another person, whose motion is played instead.
        settings: further settings of `nha view`, such as `port` or `height` (pixels).

    Raises:
        UserError: viser is not installed, files are missing or do not fit each other, or a setting is wrong.
    """
    is_path = isinstance(avatar, (str, Path))
    chosen = ViewerSettings.from_ini(
        avatar=avatar if is_path else None, tracking=tracking, driving=driving, **settings
    )
    _serve(chosen, None if is_path else avatar)


def view_avatar(settings: ViewerSettings) -> None:
    """Show an avatar until Ctrl-C or a termination signal: the program `nha view`. Raises UserError as `view`."""
    _serve(settings)


def _serve(settings: ViewerSettings, avatar: HeadAvatar | None = None) -> None:
    settings.check()
    import_viser()  # an error before the avatar is opened, which takes seconds
    with raster_backend(settings.raster_backend), ExitStack() as opened:
        images = None
        if settings.live_driving.live is not None:
            images = open_source(settings.live_driving.live, repeat=True)
            opened.callback(images.close)
        scene = open_scene(
            settings.ckpt if avatar is None else avatar,
            settings.tracking,
            head=settings.head,
            n_expressions=settings.expressions,
            device=settings.device,
            driving=settings.driving,
        )
        if settings.pose is not None:  # an error before a browser connects
            scene.poses.at(open_pose(settings.pose, [slider.name for slider in scene.sliders]).frame)
        live = None
        if images is not None:
            poses = scene.poses
            driver = LiveDriver(scene.avatar, poses.neutral, poses.camera, settings.live_driving)
            live = opened.enter_context(LiveSession(scene.avatar, poses.camera, driver, images))
        viewer = Viewer(scene, settings, live)
        try:
            print(f"open {viewer.url} in a browser; Ctrl-C ends the viewer", flush=True)
            if not is_loopback(settings.host):
                print(
                    f"--host {settings.host}: other machines can connect, unencrypted; the address is the only "
                    "password",
                    flush=True,
                )
            viewer.run()
        except StoppedError as stop:  # of the program, which ends with the signal's exit code
            stop.note = "the viewer has ended"
            raise
        except KeyboardInterrupt:  # in a notebook or another program
            print("viewer ended")
        finally:
            viewer.close()
