"""The state of one browser: its controls, its camera, and what it was sent."""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from nha.core.errors import UserError
from nha.core.system import get_logger
from nha.data.dataset_folder import write_rgb
from nha.viewer.adaptive_rendering import ClientRenderer, RenderedImage, ResolutionRules
from nha.viewer.client_messages import FOV_RANGE_RAD
from nha.viewer.panel import Panel
from nha.viewer.recording import Recording, write_video
from nha.viewer.scene import AvatarScene, RenderRequest
from nha.viewer.scene_mesh import SceneMesh
from nha.viewer.settings import ViewerSettings
from nha.viewer.viewpoint import Viewpoint

MESH = "/mesh"
_MESH_OFFSET_METRES = 0.24  # distance of the 3D mesh from the head in the image
_QUALITY_MOVING, _QUALITY_FULL = 90, 95  # of JPEGs
_ASPECT_RANGE = (0.25, 4.0)  # width over height of an image
_LONGEST_RECORDING_S = 600.0


class ClientSession:
    """A browser's panel, images, 3D mesh and recording; `step` brings all of them up to date."""

    def __init__(self, client: Any, scene: AvatarScene, mesh: SceneMesh, settings: ViewerSettings) -> None:
        """Show the controls.

        Args:
            client: of a viser server.
            scene: the avatar, which all browsers share.
            mesh: the 3D mesh of this browser.
            settings: of the viewer.
        """
        self.client, self.scene, self.mesh, self.settings = client, scene, mesh, settings
        self.panel = Panel(client.gui, scene)
        rules = ResolutionRules(settings.height, settings.min_height, 1 / settings.target_fps)
        self.renderer = ClientRenderer(scene, rules)
        self.recording: Recording | None = None
        self.mesh_handle: Any = None
        self.playback_start: tuple[float, int] | None = None

    def step(self) -> bool:
        """Run pressed buttons, select the frame that is due, and send what has changed; returns whether it was busy."""
        self.run_commands()
        self.play()
        return self.render_changes()

    # --- rendering ----------------------------------------------------------------------------------------

    def render_changes(self) -> bool:
        """Render what has changed; returns whether there was anything."""
        busy = self.update_mesh()
        request = RenderRequest(self.panel.state(), viewpoint_of_client(self.client), self.panel.mode)
        if self.recording is not None:
            self.recording.add(time.perf_counter(), request)
        rendered = self.renderer.step(request, aspect_of_client(self.client))
        if rendered is None:
            return busy
        self._send(rendered)
        return True

    def _send(self, rendered: RenderedImage) -> None:
        quality = _QUALITY_FULL if rendered.is_full else _QUALITY_MOVING
        self.client.scene.set_background_image(rendered.rgb, format="jpeg", jpeg_quality=quality)
        rate = "" if rendered.rate is None else f", {rendered.rate:.1f} fps"
        self.panel.show_rate(f"{rendered.rgb.shape[1]} x {rendered.rgb.shape[0]}{rate}")

    def update_mesh(self) -> bool:
        """Show the 3D mesh in the current pose, or remove it; returns whether a new file was sent."""
        if not self.panel.shows_mesh:
            if self.mesh_handle is not None:
                self.mesh_handle.remove()
                self.mesh_handle = None
                self.mesh.invalidate()
            return False
        if not self.mesh.is_baked:
            with self._notification("baking the texture", "takes a few seconds, once"):
                self.mesh.bake()
        data = self.mesh.update(self.panel.state())
        if data is not None:
            self.mesh_handle = self.client.scene.add_glb(MESH, data, cast_shadow=False, receive_shadow=False)
        # to the right as seen from the front: the head model's x points to the left there
        position = (0.0 if self.panel.mode == "none" else -_MESH_OFFSET_METRES, 0.0, 0.0)
        if self.mesh_handle is not None and tuple(self.mesh_handle.position) != position:
            self.mesh_handle.position = position
        return data is not None

    def play(self) -> None:
        """Select the frame that is due; frames are skipped where rendering is slower than the video."""
        if not self.panel.is_playing:
            self.playback_start = None
            return
        now = time.perf_counter()
        if self.playback_start is None:
            self.playback_start = now, self.panel.frame_index
        start, first = self.playback_start
        self.panel.show_frame(first + int((now - start) * self.settings.frame_rate))

    # --- buttons ------------------------------------------------------------------------------------------

    def run_commands(self) -> None:
        """Run the commands of the buttons that were pressed; what goes wrong is shown in the browser."""
        actions = {
            "reset": self.panel.reset,
            "camera": self._reset_camera,
            "image": self._save_image,
            "record": self._record,
        }
        while not self.panel.commands.empty():
            try:
                actions[self.panel.commands.get()]()
            except (UserError, OSError) as error:
                self.client.add_notification("error", str(error), color="red")

    def _reset_camera(self) -> None:
        view, camera = self.scene.viewpoint, self.client.camera
        with self.client.atomic():
            camera.position, camera.fov = view.position, view.fov_rad
            camera.look_at = tuple(self.scene.centre.tolist())
            camera.up_direction = (0.0, 1.0, 0.0)

    def _save_image(self) -> None:
        height = self.settings.height
        size = height, round(height * aspect_of_client(self.client))
        rgb = self.scene.render(self.panel.state(), viewpoint_of_client(self.client), size, self.panel.mode)
        path = self._free_path("image", "png")
        write_rgb(path, rgb)
        self._offer_download(path)

    def _record(self) -> None:
        """Start a recording, or end it and write its video."""
        if self.recording is None:
            self.recording = Recording()
            self.panel.show_recording(True)
            return
        s, recording = self.settings, self.recording
        self.recording = None
        self.panel.show_recording(False)
        end = (
            min(time.perf_counter(), recording.times_s[0] + _LONGEST_RECORDING_S)
            if recording.times_s
            else 0.0
        )
        requests = list(recording.frames(end, s.frame_rate))
        size = s.video_height, round(s.video_height * aspect_of_client(self.client))
        with self._notification("rendering the video", f"{len(requests)} frames") as show_progress:
            path = write_video(
                self._free_path("video", "mp4"), self.scene, requests, size, s.frame_rate,
                progress=lambda share: show_progress(f"{share:.0%} of {len(requests)} frames"),
            )  # fmt: skip
        self._offer_download(path)

    def _free_path(self, stem: str, suffix: str) -> Path:
        """A path in the output folder that no file has yet."""
        paths = (self.settings.out / f"{stem}_{number:03d}.{suffix}" for number in itertools.count(1))
        return next(path for path in paths if not path.exists())

    def _offer_download(self, path: Path) -> None:
        """Send a saved file to the browser, which may run on another machine."""
        get_logger(__name__).info("saved %s", path)
        self.client.send_file_download(path.name, path.read_bytes())

    @contextlib.contextmanager
    def _notification(self, title: str, text: str) -> Iterator[Callable[[str], None]]:
        """A notification in the browser while the block runs; yields a function that changes its text."""
        notification = self.client.add_notification(title, text, loading=True, with_close_button=False)

        def change(changed: str) -> None:
            notification.body = changed

        try:
            yield change
        finally:
            notification.remove()


def viewpoint_of_client(client: Any) -> Viewpoint:
    """The camera of a browser. Its numbers were checked when they arrived, see `client_messages`."""
    camera = client.camera
    fov_rad = min(max(float(camera.fov), FOV_RANGE_RAD[0]), FOV_RANGE_RAD[1])
    return Viewpoint(tuple(camera.wxyz.tolist()), tuple(camera.position.tolist()), fov_rad)


def aspect_of_client(client: Any) -> float:
    """Width over height of a browser's window, from 1:4 to 4:1."""
    aspect = float(client.camera.aspect)
    return min(max(aspect, _ASPECT_RANGE[0]), _ASPECT_RANGE[1]) if math.isfinite(aspect) else 1.0
