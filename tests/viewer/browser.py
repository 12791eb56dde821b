"""A headless Chromium for tests, driven through its DevTools protocol."""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from websockets.sync.client import ClientConnection, connect

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
SIZE = (900, 600)  # width, height of the window


def find_chromium() -> str | None:
    """The program's path, or None where it is not installed."""
    return next((path for name in CHROMIUM_NAMES if (path := shutil.which(name))), None)


class Browser:
    """A browser with one page, as a context manager.

    Attributes:
        requests: the addresses that the page has requested.
        errors: uncaught exceptions of its scripts.
    """

    def __init__(self, program: str, profile: Path, size: tuple[int, int] = SIZE) -> None:
        """program: path of Chromium; profile: an empty folder; size: (width, height) of the window."""
        self.requests: list[str] = []
        self.errors: list[str] = []
        self._numbers = itertools.count(1)
        self._profile = profile
        self._process = subprocess.Popen(
            [
                program, "--headless=new", "--no-sandbox", "--no-first-run", "--disable-extensions",
                "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--remote-debugging-port=0",
                "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
                f"--window-size={size[0]},{size[1]}", f"--user-data-dir={profile}", "about:blank",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self._socket: ClientConnection | None = None

    def __enter__(self) -> Browser:
        try:
            self._socket = self._connect()
        except BaseException:
            self._end()
            raise
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        width, height = SIZE
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._process.terminate()
        self._process.wait(20)

    def _connect(self) -> ClientConnection:
        """Connect to the first page as soon as the browser has written its port to the profile."""
        port_file = self._profile / "DevToolsActivePort"
        until = time.monotonic() + 60
        while not (port_file.is_file() and port_file.read_text("utf-8").count("\n")):
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError("Chromium did not start")
            time.sleep(0.05)
        port, path = port_file.read_text("utf-8").split("\n")[:2]
        # no pings: they are not answered while events wait to be read
        options = {"max_size": None, "compression": None, "ping_interval": None}
        with connect(f"ws://127.0.0.1:{port}{path}", **options) as root:
            root.send(json.dumps({"id": 1, "method": "Target.getTargets"}))
            targets = json.loads(root.recv())["result"]["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        return connect(f"ws://127.0.0.1:{port}/devtools/page/{page}", **options)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command of the protocol and return its result."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv(timeout=60))
            if message.get("id") == number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']['message']}")
                return message["result"]
            self._handle_event(message)

    def _handle_event(self, message: dict[str, Any]) -> None:
        params = message.get("params", {})
        if message.get("method") == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif message.get("method") == "Network.webSocketCreated":
            self.requests.append(params["url"])
        elif message.get("method") == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(params["exceptionDetails"])[:500])

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(json.dumps(result["exceptionDetails"])[:500])
        return result["result"].get("value")

    def wait_for(self, expression: str, seconds: float = 60) -> None:
        """Wait until an expression is true."""
        until = time.monotonic() + seconds
        while not self.evaluate(f"!!({expression})"):
            if time.monotonic() > until:
                raise TimeoutError(f"not true within {seconds} s in the browser: {expression}")
            time.sleep(0.1)

    def drag(self, start: tuple[float, float], end: tuple[float, float], steps: int = 8) -> None:
        """Drag with the left mouse button from one position of the page to another."""

        def at(kind: str, share: float, **more: Any) -> None:
            x, y = (a + share * (b - a) for a, b in zip(start, end, strict=True))
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, **more)

        at("mousePressed", 0, clickCount=1)
        for i in range(1, steps + 1):
            at("mouseMoved", i / steps)
        at("mouseReleased", 1, clickCount=1)

    def screenshot(self) -> np.ndarray:
        """uint8 [H, W, 3] RGB."""
        data = base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        return np.ascontiguousarray(image[..., ::-1])
