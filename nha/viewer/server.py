"""The viewer's server: one loop that brings every browser up to date, each with a state of its own."""

from __future__ import annotations

import contextlib
import io
import socket
import threading
import warnings
from typing import Any

from nha.core.errors import UserError
from nha.core.system import get_logger
from nha.live.session import LiveSession
from nha.viewer.access import access_rules, guarded_serving
from nha.viewer.scene import AvatarScene
from nha.viewer.scene_mesh import SceneMesh
from nha.viewer.session import ClientSession
from nha.viewer.settings import ViewerSettings

INSTALL = "python -m pip install -e '.[viewer]'"
_IDLE_S, _IDLE_LIVE_S = 0.01, 0.002
_MOST_ERRORS = 5  # of one browser, after which it is not served any more

_logger = get_logger(__name__)


class Viewer:
    """A viser server that shows an avatar; `run` works until `close` is called from another thread, or Ctrl-C."""

    def __init__(self, scene: AvatarScene, settings: ViewerSettings, live: LiveSession | None = None) -> None:
        """Start the server; with `live` browsers can follow a face.

        Raises:
            UserError: viser is missing or the address is not this machine's.
        """
        viser = import_viser()
        self.access = access_rules(settings.host, settings.allow)
        require_address(settings.host)
        self.scene, self.settings, self.live = scene, settings, live
        with contextlib.redirect_stdout(io.StringIO()), guarded_serving(self.access):  # viser's own banner
            self.server = viser.ViserServer(settings.host, settings.port, label="Avatar", verbose=False)
        # A browser may request a public address through a server of viser's authors; here everything stays local.
        self.server.request_share_url = lambda verbose=True: None
        self._set_initial_camera()
        self.mesh = SceneMesh(scene, settings.texture_size)
        self.sessions: dict[int, ClientSession] = {}
        self._errors: dict[int, int] = {}
        self._stop = threading.Event()

    @property
    def url(self) -> str:
        """The address to open; without its token the server does not answer."""
        host = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "[::1]"}.get(
            self.settings.host, self.settings.host
        )
        host = f"[{host}]" if ":" in host and not host.startswith("[") else host
        return f"http://{host}:{self.server.get_port()}/{self.access.token}/"

    def _set_initial_camera(self) -> None:
        self.server.scene.set_up_direction("+y")
        self.server.scene.configure_default_lights(enabled=False)  # the mesh's texture contains the light
        camera, view = self.server.initial_camera, self.scene.viewpoint
        camera.position, camera.up, camera.fov = view.position, (0.0, 1.0, 0.0), view.fov_rad
        camera.look_at = tuple(self.scene.centre.tolist())

    def run(self) -> None:
        """Serve until `close` is called."""
        while not self._stop.is_set():
            if not self.step():
                self._stop.wait(_IDLE_S if self.live is None else _IDLE_LIVE_S)

    def step(self) -> bool:
        """Bring every browser up to date once; returns whether there was anything to do.

        What goes wrong for one browser is logged in a line, and the others are served on.
        """
        clients = self.server.get_clients()
        self.sessions = {number: own for number, own in self.sessions.items() if number in clients}
        busy = False
        for number, client in clients.items():
            if self._errors.get(number, 0) >= _MOST_ERRORS:
                continue
            try:
                if number not in self.sessions:
                    self.sessions[number] = ClientSession(
                        client, self.scene, self.mesh.for_another_browser(), self.settings, self.live
                    )
                busy = self.sessions[number].step() or busy
            except Exception as error:
                self._errors[number] = self._errors.get(number, 0) + 1
                _logger.warning("a browser is not served: %s: %s", type(error).__name__, error)
        return busy

    def close(self) -> None:
        """End `run` and the server."""
        self._stop.set()
        self.server.stop()


def import_viser() -> Any:
    """The package viser, imported only here. Raises UserError where it is not installed."""
    # A browser may be closed between two steps; what was drawn for it is then not sent.
    warnings.filterwarnings("ignore", r"Queued a \w+ on a closed connection", UserWarning)
    try:
        import viser
    except ImportError as error:
        raise UserError(f"the viewer needs the package viser ({error}); install it with: {INSTALL}") from None
    return viser


def require_address(host: str) -> None:
    """Raise UserError for an address that is not this machine's: viser would search for a free port endlessly."""
    try:
        socket.create_server((host, 0)).close()
    except (OSError, UnicodeError) as error:
        raise UserError(
            f"cannot listen on {host} ({error}); choose one of this machine's addresses with --host"
        ) from None
