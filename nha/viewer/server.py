"""The viewer's server: one loop that reads controls and cameras, renders what has changed, and sends it to browsers."""

from __future__ import annotations

import contextlib
import io
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from nha.core.errors import UserError
from nha.core.system import get_logger
from nha.data.dataset_folder import write_rgb
from nha.viewer.adaptive_rendering import ClientRenderer, RenderedImage, ResolutionRules
from nha.viewer.panel import Panel
from nha.viewer.recording import Recording, write_video
from nha.viewer.scene import AvatarScene, RenderRequest
from nha.viewer.scene_mesh import SceneMesh
from nha.viewer.settings import ViewerSettings
from nha.viewer.viewpoint import Viewpoint

INSTALL = "python -m pip install -e '.[viewer]'"
_IDLE_S = 0.01
_MESH_OFFSET_METRES = 0.24  # distance of the 3D mesh from the head in the image
_QUALITY_MOVING, _QUALITY_FULL = 90, 95  # of JPEGs
_MESH = "/mesh"


class Viewer:
    """A viser server that shows an avatar; `run` works until `close` is called from another thread, or Ctrl-C."""

    def __init__(self, scene: AvatarScene, settings: ViewerSettings) -> None:
        """Start the server. Raises UserError where viser is missing or the address is not this machine's."""
        viser = import_viser()
        require_address(settings.host)
        self.scene, self.settings = scene, settings
        with contextlib.redirect_stdout(io.StringIO()):  # viser's own banner
            self.server = viser.ViserServer(settings.host, settings.port, label="Avatar", verbose=False)
        # A browser may request a public address through a server of viser's authors; here everything stays local.
        self.server.request_share_url = lambda verbose=True: None
        self._set_initial_camera()
        self.panel = Panel(self.server.gui, scene)
        self.mesh = SceneMesh(scene, settings.texture_size)
        self._mesh_handle: Any = None
        self._renderers: dict[int, ClientRenderer] = {}
        self._recording: tuple[int, Recording] | None = None
        self._playback_start: tuple[float, int] | None = None
        self._stop = threading.Event()

    @property
    def url(self) -> str:
        host = "127.0.0.1" if self.settings.host == "0.0.0.0" else self.settings.host
        return f"http://{host}:{self.server.get_port()}"

    def _set_initial_camera(self) -> None:
        self.server.scene.set_up_direction("+y")
        self.server.scene.configure_default_lights(enabled=False)  # the mesh's texture contains the light
        camera, view = self.server.initial_camera, self.scene.viewpoint
        camera.position, camera.up, camera.fov = view.position, (0.0, 1.0, 0.0), view.fov_rad
        camera.look_at = tuple(self.scene.centre.tolist())

    def run(self) -> None:
        """Serve until `close` is called."""
        while not self._stop.is_set():
            self._run_commands()
            self._play()
            if not self._render_changes():
                self._stop.wait(_IDLE_S)

    def close(self) -> None:
        """End `run` and the server."""
        self._stop.set()
        self.server.stop()

    # --- rendering ----------------------------------------------------------------------------------------

    def _render_changes(self) -> bool:
        """Render what has changed, for every browser; returns whether there was anything."""
        state, mode = self.panel.state(), self.panel.mode
        clients = self.server.get_clients()
        self._renderers = {
            number: self._renderers.get(number) or ClientRenderer(self.scene, self._resolution_rules())
            for number in clients
        }
        busy = self._update_mesh()
        for number, client in clients.items():
            request = RenderRequest(state, _viewpoint(client), mode)
            if self._recording and self._recording[0] == number:
                self._recording[1].add(time.perf_counter(), request)
            rendered = self._renderers[number].step(request, client.camera.aspect)
            if rendered is not None:
                busy = True
                self._send(client, rendered)
        return busy

    def _resolution_rules(self) -> ResolutionRules:
        s = self.settings
        return ResolutionRules(s.height, s.min_height, 1 / s.target_fps)

    def _send(self, client: Any, rendered: RenderedImage) -> None:
        quality = _QUALITY_FULL if rendered.is_full else _QUALITY_MOVING
        client.scene.set_background_image(rendered.rgb, format="jpeg", jpeg_quality=quality)
        rate = "" if rendered.rate is None else f", {rendered.rate:.1f} fps"
        self.panel.show_rate(f"{rendered.rgb.shape[1]} x {rendered.rgb.shape[0]}{rate}")

    def _update_mesh(self) -> bool:
        """Show the 3D mesh in the current pose, or remove it; returns whether a new file was sent."""
        if not self.panel.shows_mesh:
            if self._mesh_handle is not None:
                self._mesh_handle.remove()
                self._mesh_handle = None
                self.mesh.invalidate()
            return False
        if not self.mesh.is_baked:
            with self._notification("baking the texture", "takes a few seconds, once"):
                self.mesh.bake()
        data = self.mesh.update(self.panel.state())
        if data is not None:
            self._mesh_handle = self.server.scene.add_glb(
                _MESH, data, cast_shadow=False, receive_shadow=False
            )
        # to the right as seen from the front: the head model's x points to the left there
        position = (0.0 if self.panel.mode == "none" else -_MESH_OFFSET_METRES, 0.0, 0.0)
        if self._mesh_handle is not None and tuple(self._mesh_handle.position) != position:
            self._mesh_handle.position = position
        return data is not None

    def _play(self) -> None:
        """Select the frame that is due; frames are skipped where rendering is slower than the video."""
        if not self.panel.is_playing:
            self._playback_start = None
            return
        now = time.perf_counter()
        if self._playback_start is None:
            self._playback_start = now, self.panel.frame_index
        start, first = self._playback_start
        self.panel.show_frame(first + int((now - start) * self.settings.frame_rate))

    # --- buttons ------------------------------------------------------------------------------------------

    def _run_commands(self) -> None:
        while not self.panel.commands.empty():
            command = self.panel.commands.get()
            if command.client is None or command.client.client_id not in self.server.get_clients():
                continue
            actions = {
                "reset": lambda client: self.panel.reset(),
                "camera": self._reset_camera,
                "image": self._save_image,
                "record": self._record,
            }
            try:
                actions[command.name](command.client)
            except (UserError, OSError) as error:
                command.client.add_notification("error", str(error), color="red")

    def _reset_camera(self, client: Any) -> None:
        view = self.scene.viewpoint
        with client.atomic():
            client.camera.position, client.camera.fov = view.position, view.fov_rad
            client.camera.look_at = tuple(self.scene.centre.tolist())
            client.camera.up_direction = (0.0, 1.0, 0.0)

    def _save_image(self, client: Any) -> None:
        size = self.settings.height, round(self.settings.height * client.camera.aspect)
        rgb = self.scene.render(self.panel.state(), _viewpoint(client), size, self.panel.mode)
        path = self._free_path("image", "png")
        write_rgb(path, rgb)
        self._offer_download(client, path)

    def _record(self, client: Any) -> None:
        """Start a recording, or end it and write its video."""
        if self._recording is None:
            self._recording = client.client_id, Recording()
            self.panel.show_recording(True)
            return
        s, (_, recording) = self.settings, self._recording
        self._recording = None
        self.panel.show_recording(False)
        requests = list(recording.frames(time.perf_counter(), s.frame_rate))
        size = s.video_height, round(s.video_height * client.camera.aspect)
        with self._notification("rendering the video", f"{len(requests)} frames") as show_progress:
            path = write_video(
                self._free_path("video", "mp4"), self.scene, requests, size, s.frame_rate,
                progress=lambda share: show_progress(f"{share:.0%} of {len(requests)} frames"),
            )  # fmt: skip
        self._offer_download(client, path)

    def _free_path(self, stem: str, suffix: str) -> Path:
        """A path in the output folder that no file has yet."""
        paths = (self.settings.out / f"{stem}_{number:03d}.{suffix}" for number in itertools.count(1))
        return next(path for path in paths if not path.exists())

    def _offer_download(self, client: Any, path: Path) -> None:
        """Send a saved file to the browser, which may run on another machine."""
        get_logger(__name__).info("saved %s", path)
        client.send_file_download(path.name, path.read_bytes())

    @contextlib.contextmanager
    def _notification(self, title: str, text: str) -> Iterator[Callable[[str], None]]:
        """A notification in all browsers while the block runs; yields a function that changes its text."""
        notifications = [
            client.add_notification(title, text, loading=True, with_close_button=False)
            for client in self.server.get_clients().values()
        ]

        def change(changed: str) -> None:
            for notification in notifications:
                notification.body = changed

        try:
            yield change
        finally:
            for notification in notifications:
                notification.remove()


def import_viser() -> Any:
    """The package viser, imported only here. Raises UserError where it is not installed."""
    try:
        import viser
    except ImportError as error:
        raise UserError(f"the viewer needs the package viser ({error}); install it with: {INSTALL}") from None
    return viser


def require_address(host: str) -> None:
    """Raise UserError for an address that is not this machine's: viser would search for a free port endlessly."""
    try:
        socket.create_server((host, 0)).close()
    except OSError as error:
        raise UserError(
            f"cannot listen on {host} ({error}); choose one of this machine's addresses with --host"
        ) from None


def _viewpoint(client: Any) -> Viewpoint:
    camera = client.camera
    return Viewpoint(tuple(camera.wxyz.tolist()), tuple(camera.position.tolist()), camera.fov)
