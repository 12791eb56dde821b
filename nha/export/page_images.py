"""Images of avatar.html from a headless Chromium, for the export's report.

The page is served to the browser on the loopback interface; in its report mode it sends its images back.
"""

from __future__ import annotations

import base64
import http.server
import json
import queue
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_OPTIONS = (
    "--headless=new", "--no-first-run", "--disable-extensions", "--disable-background-networking",
    "--disable-component-update", "--disable-dev-shm-usage", "--no-sandbox", "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
)  # fmt: skip
_TIMEOUT_S = 120


@dataclass(frozen=True)
class PageImage:
    """One frame as the page draws it.

    Attributes:
        vertices: [V, 3] metres, world.
        rgba: uint8 [H, W, 4]; alpha is 255 where the head is, else 0.
    """

    vertices: np.ndarray
    rgba: np.ndarray


def find_chromium() -> str | None:
    """The path of an installed Chromium or Chrome, or None."""
    return next((path for name in CHROMIUM_NAMES if (path := shutil.which(name))), None)


def page_images(page: Path, frames: Sequence[int], chromium: str) -> list[PageImage]:
    """The page's images of frames, from the tracker's camera.

    Args:
        page: avatar.html.
        frames: indices of frames of its animation.
        chromium: path of the browser.

    Raises:
        RuntimeError: the page reported an error.
        TimeoutError: there was no answer within two minutes.
    """
    answers: queue.Queue[bytes] = queue.Queue()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(page.read_bytes(), answers))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}/#report={','.join(map(str, frames))}"
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            command = [chromium, *_OPTIONS, f"--user-data-dir={profile}", address]
            browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                answer = json.loads(answers.get(timeout=_TIMEOUT_S))
            except queue.Empty:
                raise TimeoutError("the browser sent no images of avatar.html") from None
            finally:
                browser.terminate()
                browser.wait(20)
    finally:
        server.shutdown()
        server.server_close()
    if isinstance(answer, str):
        raise RuntimeError(f"avatar.html: {answer}")
    return [_page_image(entry) for entry in answer]


def _handler(page: bytes, answers: queue.Queue[bytes]) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/" else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            if self.path == "/":
                self.wfile.write(page)

        def do_POST(self) -> None:
            answers.put(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


def _page_image(entry: dict[str, Any]) -> PageImage:
    png = np.frombuffer(base64.b64decode(entry["png"].split(",", 1)[1]), np.uint8)
    bgra = cv2.imdecode(png, cv2.IMREAD_UNCHANGED)
    return PageImage(np.array(entry["vertices"]).reshape(-1, 3), cv2.cvtColor(bgra, cv2.COLOR_BGRA2RGBA))
