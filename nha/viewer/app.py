"""The viewer in the browser: one loop that looks at controls and cameras, draws what has changed, and sends it."""

from __future__ import annotations

import contextlib
import io
import itertools
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from nha.core.errors import UserError
from nha.data.dataset_folder import write_rgb
from nha.viewer.mesh_object import MeshObject
from nha.viewer.panel import Panel
from nha.viewer.recording import Moment, Recording, write_film
from nha.viewer.resolution import ResolutionRules
from nha.viewer.screen import Drawn, Screen
from nha.viewer.settings import ViewerSettings
from nha.viewer.stage import Stage, open_stage
from nha.viewer.viewpoint import Viewpoint

INSTALL = "python -m pip install -e '.[viewer]'"
_IDLE_S = 0.01
_BESIDE_METRES = 0.24  # how far the mesh stands beside the picture's head
_QUALITY_MOVING, _QUALITY_AT_REST = 90, 95  # of JPEGs
_MESH = "/mesh"


def view_avatar(settings: ViewerSettings) -> None:
    """Open an avatar and serve it until Ctrl-C. Raises UserError as `open_stage` does, or where viser is missing."""
    settings.check()
    viser = import_viser()
    stage = open_stage(
        settings.ckpt,
        settings.tracking,
        settings.head,
        settings.expressions,
        settings.device,
        settings.raster_backend,
        settings.driving,
    )
    viewer = Viewer(viser, stage, settings)
    # asked to end by the system (a closed session, `kill`): as Ctrl-C
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        print(f"open {viewer.url} in a browser; Ctrl-C ends the viewer", flush=True)
        viewer.run()
    except KeyboardInterrupt:
        print("ended")
    finally:
        viewer.close()


def import_viser() -> ModuleType:
    """The package that talks to the browser. Raises UserError where it is not installed."""
    try:
        import viser
    except ImportError as error:
        raise UserError(f"the viewer needs the package viser ({error}); install it with: {INSTALL}") from None
    return viser


def require_address(host: str) -> None:
    """Raise UserError for an address that this machine cannot listen on: viser would look for a free port for ever."""
    try:
        socket.create_server((host, 0)).close()
    except OSError as error:
        raise UserError(
            f"cannot listen on {host} ({error}); choose one of this machine's addresses with --host"
        ) from None


class Viewer:
    """A viser server that shows a stage; `run` works until `close` is called, from another thread, or Ctrl-C."""

    def __init__(self, viser: ModuleType, stage: Stage, settings: ViewerSettings) -> None:
        self.stage, self.settings = stage, settings
        require_address(settings.host)
        with contextlib.redirect_stdout(io.StringIO()):  # viser's own banner
            self.server = viser.ViserServer(settings.host, settings.port, label="Avatar", verbose=False)
        # A browser may ask for a public address, which viser's authors would serve: nothing leaves this machine here.
        self.server.request_share_url = lambda verbose=True: None
        self._set_stage_up()
        self.panel = Panel(self.server.gui, stage)
        self.mesh = MeshObject(stage, settings.texture_size)
        self._mesh_handle: Any = None
        self._screens: dict[int, Screen] = {}
        self._recording: tuple[int, Recording] | None = None
        self._played_from: tuple[float, int] | None = None
        self._stop = threading.Event()

    @property
    def url(self) -> str:
        host = "127.0.0.1" if self.settings.host == "0.0.0.0" else self.settings.host
        return f"http://{host}:{self.server.get_port()}"

    def _set_stage_up(self) -> None:
        self.server.scene.set_up_direction("+y")
        self.server.scene.configure_default_lights(enabled=False)  # the mesh brings its light in its texture
        camera, view = self.server.initial_camera, self.stage.viewpoint
        camera.position, camera.up, camera.fov = view.position, (0.0, 1.0, 0.0), view.fov_rad
        camera.look_at = tuple(self.stage.middle.tolist())

    def run(self) -> None:
        """Draw until `close` is called."""
        while not self._stop.is_set():
            self._obey_commands()
            self._play()
            if not self._draw_all():
                self._stop.wait(_IDLE_S)

    def close(self) -> None:
        """End `run` and the server."""
        self._stop.set()
        self.server.stop()

    # --- pictures -----------------------------------------------------------------------------------------

    def _draw_all(self) -> bool:
        """One round: whatever has changed is drawn for everyone; returns whether anything was."""
        state, look = self.panel.state(), self.panel.look
        clients = self.server.get_clients()
        self._screens = {
            number: self._screens.get(number) or Screen(self.stage, self._rules()) for number in clients
        }
        busy = self._show_mesh()
        for number, client in clients.items():
            moment = Moment(state, _viewpoint(client), look)
            if self._recording and self._recording[0] == number:
                self._recording[1].add(time.perf_counter(), moment)
            drawn = self._screens[number].step(moment, client.camera.aspect)
            if drawn is not None:
                busy = True
                self._send(client, drawn)
        return busy

    def _rules(self) -> ResolutionRules:
        s = self.settings
        return ResolutionRules(s.height, s.smallest_height, 1 / s.target_fps)

    def _send(self, client: Any, drawn: Drawn) -> None:
        quality = _QUALITY_AT_REST if drawn.at_rest else _QUALITY_MOVING
        client.scene.set_background_image(drawn.rgb, format="jpeg", jpeg_quality=quality)
        rate = "" if drawn.rate is None else f", {drawn.rate:.1f} a second"
        self.panel.say_rate(f"{drawn.rgb.shape[1]} x {drawn.rgb.shape[0]}{rate}")

    def _show_mesh(self) -> bool:
        """Bring the 3D mesh up to date; returns whether there was something to do."""
        if not self.panel.mesh_is_wanted:
            if self._mesh_handle is not None:
                self._mesh_handle.remove()
                self._mesh_handle = None
                self.mesh.forget()
            return False
        if not self.mesh.is_baked:
            with self._notices("baking the texture", "takes a few seconds, once"):
                self.mesh.bake()
        data = self.mesh.update(self.panel.state())
        if data is not None:
            self._mesh_handle = self.server.scene.add_glb(
                _MESH, data, cast_shadow=False, receive_shadow=False
            )
        # to the right of someone who looks from the front; our x grows to the left
        place = (0.0 if self.panel.look == "nothing" else -_BESIDE_METRES, 0.0, 0.0)
        if self._mesh_handle is not None and tuple(self._mesh_handle.position) != place:
            self._mesh_handle.position = place
        return data is not None

    # --- video --------------------------------------------------------------------------------------------

    def _play(self) -> None:
        """Move on to the frame that is due; frames are left out where drawing is slower than the video."""
        if not self.panel.is_playing:
            self._played_from = None
            return
        now = time.perf_counter()
        if self._played_from is None:
            self._played_from = now, self.panel.frame_index
        start, first = self._played_from
        self.panel.show_frame(first + int((now - start) * self.settings.frame_rate))

    # --- buttons ------------------------------------------------------------------------------------------

    def _obey_commands(self) -> None:
        while not self.panel.commands.empty():
            command = self.panel.commands.get()
            if command.client is None or command.client.client_id not in self.server.get_clients():
                continue
            actions = {
                "reset": lambda client: self.panel.reset(),
                "camera": self._reset_camera,
                "picture": self._save_picture,
                "record": self._record,
            }
            try:
                actions[command.name](command.client)
            except (UserError, OSError) as error:
                command.client.add_notification("that did not work", str(error), color="red")

    def _reset_camera(self, client: Any) -> None:
        view = self.stage.viewpoint
        with client.atomic():
            client.camera.position, client.camera.fov = view.position, view.fov_rad
            client.camera.look_at = tuple(self.stage.middle.tolist())
            client.camera.up_direction = (0.0, 1.0, 0.0)

    def _save_picture(self, client: Any) -> None:
        size = self.settings.height, round(self.settings.height * client.camera.aspect)
        rgb = self.stage.picture(self.panel.state(), _viewpoint(client), size, self.panel.look)
        path = self._free_path("png")
        write_rgb(path, rgb)
        self._hand_over(client, path)

    def _record(self, client: Any) -> None:
        """Begin, or end and write the film."""
        if self._recording is None:
            self._recording = client.client_id, Recording()
            self.panel.say_recording(True)
            return
        s, (_, recording) = self.settings, self._recording
        self._recording = None
        self.panel.say_recording(False)
        moments = list(recording.frames(time.perf_counter(), s.frame_rate))
        size = s.film_height, round(s.film_height * client.camera.aspect)
        with self._notices("drawing the film", f"{len(moments)} frames") as say:
            path = write_film(
                self._free_path("mp4"), self.stage, moments, size, s.frame_rate,
                progress=lambda share: say(f"{share:.0%} of {len(moments)} frames"),
            )  # fmt: skip
        self._hand_over(client, path)

    def _free_path(self, suffix: str) -> Path:
        """A name in --out that no file has yet."""
        kind = {"png": "picture", "mp4": "film"}[suffix]
        paths = (self.settings.out / f"{kind}_{number:03d}.{suffix}" for number in itertools.count(1))
        return next(path for path in paths if not path.exists())

    def _hand_over(self, client: Any, path: Path) -> None:
        """Say where a file is, and offer it to the browser, which may be far away."""
        print(path, flush=True)
        client.send_file_download(path.name, path.read_bytes())

    @contextlib.contextmanager
    def _notices(self, title: str, text: str) -> Iterator[Callable[[str], None]]:
        """A notice to everyone while the block runs; gives a function that changes its text."""
        notices = [
            client.add_notification(title, text, loading=True, with_close_button=False)
            for client in self.server.get_clients().values()
        ]

        def say(changed: str) -> None:
            for notice in notices:
                notice.body = changed

        try:
            yield say
        finally:
            for notice in notices:
                notice.remove()


def _viewpoint(client: Any) -> Viewpoint:
    camera = client.camera
    return Viewpoint(tuple(camera.wxyz.tolist()), tuple(camera.position.tolist()), camera.fov)
