"""Attacks on the viewer's server, over real connections: other web pages, DNS rebinding, hostile browsers."""

from __future__ import annotations

import contextlib
import http.client
import math
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nha.core.errors import UserError
from nha.viewer.access import access_rules, is_loopback
from nha.viewer.client_messages import FOV_RANGE_RAD, LONGEST_TEXT, SIZE_RANGE_PX, checked_message
from nha.viewer.server import Viewer
from nha.viewer.settings import ViewerSettings

viser = pytest.importorskip("viser", reason="viser is not installed ([viewer] in pyproject.toml)")

import msgspec  # noqa: E402 - a dependency of viser
import websockets.exceptions  # noqa: E402
from websockets.sync.client import ClientConnection, connect  # noqa: E402


@pytest.fixture(scope="module")
def viewer(scene, tmp_path_factory):
    out = tmp_path_factory.mktemp("viewer")
    viewer = Viewer(
        scene, ViewerSettings(ckpt=None, out=out, height=48, min_height=48, port=0, allow=["pc.example.org"])
    )
    yield viewer
    viewer.close()


def get(viewer: Viewer, path: str, **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Status, header fields and content of an answer."""
    with contextlib.closing(
        http.client.HTTPConnection("127.0.0.1", viewer.server.get_port(), timeout=10)
    ) as connection:
        connection.putrequest("GET", path, skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        with connection.getresponse() as answer:
            return answer.status, answer.headers, answer.read()


def open_socket(viewer: Viewer, *, token: str | None = None, **headers: str) -> ClientConnection:
    port, token = viewer.server.get_port(), viewer.access.token if token is None else token
    origin = headers.pop("Origin", None)
    return connect(
        f"ws://127.0.0.1:{port}/{token}",
        origin=origin,
        additional_headers=headers,
        subprotocols=[f"viser-v{viser.__version__}"],
        max_size=None,
    )


def camera(**changes) -> dict:
    return {
        "type": "ViewerCameraMessage",
        "wxyz": [0.0, 1.0, 0.0, 0.0],
        "position": [0.0, 0.0, 1.0],
        "fov": 0.7,
        "near": 0.01,
        "far": 1000.0,
        "image_height": 300,
        "image_width": 400,
        "look_at": [0.0, 0.0, 0.0],
        "up_direction": [0.0, 1.0, 0.0],
        **changes,
    }


def test_the_printed_address_is_answered(viewer):
    address = viewer.url.removeprefix(f"http://127.0.0.1:{viewer.server.get_port()}")
    status, headers, content = get(viewer, address)
    assert status == 200
    assert headers["X-Frame-Options"] == "DENY"
    assert b"<html" in content


@pytest.mark.parametrize(
    "path", ["/", "/index.html", "/wrong/", "//", "/..", "/TOKEN/../..", "/?TOKEN", "/TOKENx"]
)
def test_an_address_without_the_token_is_refused(viewer, path):
    status, _, content = get(viewer, path.replace("TOKEN", viewer.access.token))
    assert status in (403, 404)
    assert b"<html" not in content


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:{port}", 200),
        ("localhost:9999", 200),  # a forwarded port
        ("[::1]:{port}", 200),
        ("pc.example.org", 200),
        ("PC.Example.org:80", 200),
        ("evil.example.org", 403),
        ("evil.example.org:{port}", 403),
        ("127.0.0.1.evil.example.org", 403),
        ("localhost@evil.example.org", 403),
        ("127.0.0.1:{port}/evil", 403),
        ("", 403),
        ("10.0.0.7", 403),  # not the address that the connection was made to
    ],
)
def test_only_names_of_this_machine_are_answered(viewer, host, status):
    """A page whose name was rebound to this machine sends its own name."""
    host = host.format(port=viewer.server.get_port())
    assert get(viewer, f"/{viewer.access.token}/", Host=host)[0] == status


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example.org"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},  # another program on this machine
        {"Origin": "file://"},
        {"Origin": "http://localhost:{port}"},  # the page has another name than the request
        {"token": ""},
        {"token": "wrong"},
    ],
)
def test_another_page_cannot_connect(viewer, headers):
    headers = {key: value.format(port=viewer.server.get_port()) for key, value in headers.items()}
    with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
        open_socket(viewer, **headers)
    assert refused.value.response.status_code == 403


def test_the_own_page_connects(viewer):
    with open_socket(viewer, Origin=f"http://127.0.0.1:{viewer.server.get_port()}") as own:
        assert own.recv(timeout=10)


def step_until(viewer: Viewer, condition, seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not condition():
        viewer.step()
        assert time.monotonic() < until, "nothing happened"
        time.sleep(0.01)


HOSTILE = [
    camera(fov=0),
    camera(fov=math.nan),
    camera(image_height=0),
    camera(image_width=10**9),
    camera(image_width="x" * 1000),
    camera(wxyz=[0, 0, 0, 0]),
    camera(wxyz=[]),
    camera(position=[math.inf] * 3),
    camera(position=None),
    camera(position=[1e308] * 3),
    {"type": "ViewerCameraMessage"},
    {"type": "ShareUrlRequest"},
    {"type": "FileTransferStartUpload", "mime_type": "x", "part_count": 10**9, "size_bytes": 10**12},
    {"type": "GuiUpdateMessage", "uuid": "x", "updates": {"removed": True}},
    {"type": "NoSuchMessage"},
    {},
    [],
    7,
]


@contextlib.contextmanager
def two_browsers(viewer: Viewer) -> Iterator[tuple[ClientConnection, ClientConnection, int, int]]:
    """The sockets of two browsers, and the numbers of their sessions."""
    with open_socket(viewer) as good, open_socket(viewer) as bad:
        for socket in (good, bad):
            socket.send(msgspec.msgpack.encode(camera()))
        step_until(viewer, lambda: len(viewer.sessions) == 2)
        first, second = sorted(viewer.sessions)
        yield good, bad, first, second


def test_a_hostile_browser_does_not_disturb_another(viewer, caplog):
    with two_browsers(viewer) as (good, bad, first, second):
        for message in HOSTILE:
            bad.send(msgspec.msgpack.encode(message))
        for raw in (b"", b"\xff" * 100, b"\x91" * 10_000, "text"):
            bad.send(raw)
        for handle in viewer.sessions[first].panel._sliders.values():  # not those of another browser
            update = {"type": "GuiUpdateMessage", "uuid": handle._impl.uuid, "updates": {"value": 5.0}}
            bad.send(msgspec.msgpack.encode(update))
            break
        good.send(msgspec.msgpack.encode(camera(position=[0.1, 0.0, 1.0])))
        step_until(
            viewer,
            lambda: (
                viewer.sessions[first].client.camera.position[0] == 0.1
                and viewer.sessions[first].renderer._resolution.next_height(time.perf_counter()) is None
            ),
        )
        assert not any(viewer.sessions[first].panel.state().values.values())
        size = viewer.sessions[second].client.camera
        assert SIZE_RANGE_PX[0] <= size.image_height <= size.image_width <= SIZE_RANGE_PX[1]
        bad.send(b"\x00" * (1 << 20))  # beyond the largest message: only this connection is closed
        step_until(viewer, lambda: viewer.sessions.keys() == {first})
    assert "Traceback" not in caplog.text


VALUES = (
    True,
    0,
    -1e9,
    1e9,
    10**18,
    0.5,
    "",
    "x" * LONGEST_TEXT,
    "../../x",
    "\x1b[2J\nerror: forged",
    math.nan,
    None,
)


def test_a_browser_that_sets_its_controls_to_anything_does_not_disturb_another(viewer, caplog):
    with two_browsers(viewer) as (good, bad, first, second):
        before = viewer.sessions[first].panel.state()
        controls = sorted(viewer.sessions[second].client.gui._gui_input_handle_from_uuid)
        assert len(controls) > 20
        for value in VALUES:
            for identifier in controls:
                update = {"type": "GuiUpdateMessage", "uuid": identifier, "updates": {"value": value}}
                bad.send(msgspec.msgpack.encode(update))
            for _ in range(3):
                viewer.step()
        good.send(msgspec.msgpack.encode(camera(position=[0.2, 0.0, 1.0])))
        step_until(
            viewer,
            lambda: (
                first in viewer.sessions
                and viewer.sessions[first].client.camera.position[0] == 0.2
                and viewer.sessions[first].renderer._resolution.next_height(time.perf_counter()) is None
            ),
        )
        assert viewer.sessions[first].panel.state() == before
        assert good.recv(timeout=10)
    assert "Traceback" not in caplog.text
    written = [path.name for path in viewer.settings.out.rglob("*") if path.is_file()]
    assert {Path(name).suffix for name in written} <= {".png", ".mp4", ".json", ".jsonl"}
    assert all(name.isprintable() for name in written)


REQUESTS = [
    b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /TOKEN/\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /TOKEN/../../../x HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /TOKEN/%2e%2e/%2e%2e/x HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /TOKEN//x HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /TOKEN/\0 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET http://evil.example.org/TOKEN/ HTTP/1.1\r\nHost: evil.example.org\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: \xff\r\n\r\n",
    b"GET /TOKEN/ HTTP/1.1\r\nHost: localhost:99999999999999999999\r\n\r\n",
    b"GET /TOKEN/ HTTP/1.1\r\nHost: [::1\r\n\r\n",
    b"GET /TOKEN/ HTTP/1.1\r\nHost: localhost\r\nHost: evil.example.org\r\n\r\n",
    b"GET /TOKEN/ HTTP/1.1\r\n\r\n",
    b"GET /TOKEN/ HTTP/1.1\r\nHost: localhost\r\nOrigin: \xff\r\n\r\n",
    b"POST /TOKEN/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n",
    b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /TOKEN/ HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 10_000 + b"\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00" + bytes(500),
    b"\r\n\r\n" * 100,
]


@pytest.mark.parametrize("number", range(len(REQUESTS)))
def test_odd_requests_get_no_page_and_the_server_goes_on(viewer, number, capfd):
    request = REQUESTS[number].replace(b"TOKEN", viewer.access.token.encode())
    with socket.create_connection(("127.0.0.1", viewer.server.get_port()), timeout=5) as connection:
        connection.settimeout(1)
        answer = b""
        with contextlib.suppress(OSError):  # the server may close at once, or wait for the rest
            connection.sendall(request)
            while part := connection.recv(65536):
                answer += part
    assert not answer.startswith((b"HTTP/1.1 5", b"HTTP/1.1 2")), answer[:200]
    assert b"Traceback" not in answer
    printed = capfd.readouterr()
    assert "Traceback" not in printed.out + printed.err
    assert get(viewer, f"/{viewer.access.token}/")[0] == 200


def test_names_to_allow_are_checked():
    assert access_rules("0.0.0.0", ["a.b"]).names == {"a.b"}
    for name in ("*", "http://a.b", "a.b/c", "a@b", "a:1", "", "a b"):
        with pytest.raises(UserError, match="--allow"):
            access_rules("127.0.0.1", [name])
    assert [is_loopback(host) for host in ("127.0.0.1", "localhost", "::1", "0.0.0.0", "10.0.0.1")] == [
        True,
        True,
        True,
        False,
        False,
    ]


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(camera())), anything, max_size=4))
def test_cameras_are_clamped_or_left_out(changes):
    clean = checked_message(msgspec.msgpack.encode({**camera(), **changes}))
    if clean is None or msgspec.msgpack.decode(clean)["type"] != "ViewerCameraMessage":
        return
    message = msgspec.msgpack.decode(clean)
    assert FOV_RANGE_RAD[0] <= message["fov"] <= FOV_RANGE_RAD[1]
    assert all(
        SIZE_RANGE_PX[0] <= message[name] <= SIZE_RANGE_PX[1] for name in ("image_height", "image_width")
    )
    numbers = np.concatenate([message[name] for name in ("wxyz", "position", "look_at", "up_direction")])
    assert np.isfinite(numbers).all()
    assert np.abs(numbers).max() <= 100


@settings(max_examples=150, deadline=None)
@given(anything, anything)
def test_controls_get_only_values(identifier, updates):
    clean = checked_message(
        msgspec.msgpack.encode({"type": "GuiUpdateMessage", "uuid": identifier, "updates": updates})
    )
    if clean is not None:
        message = msgspec.msgpack.decode(clean)
        assert message["updates"].keys() == {"value"}
        assert isinstance(message["updates"]["value"], (bool, int, float, str))
        assert len(message["uuid"]) <= LONGEST_TEXT


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=20))
def test_bytes_of_any_kind_are_left_out(raw):
    assert checked_message(raw) is None
