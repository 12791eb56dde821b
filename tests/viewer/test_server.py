"""The viewer's server with a browser that is replaced by an object: commands, rendering, recording, 3D mesh."""

from __future__ import annotations

import contextlib
import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from nha.data.dataset_folder import read_rgb
from nha.data.video_io import iterate_frames
from nha.viewer.app import view
from nha.viewer.server import Viewer
from nha.viewer.session import ClientSession
from nha.viewer.settings import ViewerSettings

pytest.importorskip("viser", reason="viser is not installed ([viewer] in setup.py)")


class FakeGui:
    """Controls that hold their values."""

    def __init__(self) -> None:
        self.main_panel = SimpleNamespace(dock_right=lambda: None)

    def configure_theme(self, **options: Any) -> None:
        pass

    def add_folder(self, label: str, **options: Any) -> contextlib.AbstractContextManager:
        return contextlib.nullcontext()

    def add_slider(self, label, low, high, step, value, **options: Any) -> SimpleNamespace:
        return self._control(value)

    def add_dropdown(self, label, choices, **options: Any) -> SimpleNamespace:
        return self._control(choices[0])

    def add_text(self, label, value, **options: Any) -> SimpleNamespace:
        return self._control(value)

    add_checkbox = add_text

    def add_button(self, label, **options: Any) -> SimpleNamespace:
        return self._control(False)

    def _control(self, value: Any) -> SimpleNamespace:
        return SimpleNamespace(value=value, label="", on_click=lambda f: None, on_update=lambda f: None)


class FakeClient:
    """The part of a viser client that the server uses; `images` and `downloads` hold what it was sent."""

    client_id = 7

    def __init__(self, viewpoint) -> None:
        self.camera = SimpleNamespace(
            wxyz=np.array(viewpoint.wxyz),
            position=np.array(viewpoint.position),
            fov=viewpoint.fov_rad,
            aspect=1.5,
        )
        self.images: list[np.ndarray] = []
        self.downloads: dict[str, bytes] = {}
        self.notifications: list[tuple[Any, ...]] = []
        self.meshes: list[bytes] = []
        self.scene = SimpleNamespace(
            set_background_image=lambda rgb, **options: self.images.append(rgb), add_glb=self._add_glb
        )
        self.gui = FakeGui()

    def _add_glb(self, name: str, data: bytes, **options: Any) -> SimpleNamespace:
        self.meshes.append(data)
        return SimpleNamespace(position=(0.0, 0.0, 0.0), remove=self.meshes.clear)

    def atomic(self) -> contextlib.AbstractContextManager:
        return contextlib.nullcontext()

    def send_file_download(self, name: str, content: bytes) -> None:
        self.downloads[name] = content

    def add_notification(self, *text: Any, **options: Any) -> SimpleNamespace:
        self.notifications.append(text)
        return SimpleNamespace(body="", remove=lambda: None)


@pytest.fixture
def viewer(scene, tmp_path):
    settings = ViewerSettings(
        ckpt=None, out=tmp_path, height=96, min_height=48, video_height=64, texture_size=32, port=8600
    )
    viewer = Viewer(scene, settings)
    yield viewer
    viewer.close()


@pytest.fixture
def client(viewer, scene, monkeypatch) -> FakeClient:
    client = FakeClient(scene.viewpoint)
    monkeypatch.setattr(viewer.server, "get_clients", lambda: {client.client_id: client})
    return client


@pytest.fixture
def session(viewer, client) -> ClientSession:
    viewer.step()
    return viewer.sessions[client.client_id]


def press(session: ClientSession, name: str) -> None:
    session.panel.commands.put(name)
    session.run_commands()


def test_a_change_is_rendered_and_sent(viewer, client, session):
    assert client.images[-1].shape == (48, 72, 3)
    session.panel._sliders["jaw_open"].value = 20.0
    assert viewer.step()
    assert session.panel.state().values["jaw_open"] == 20
    press(session, "reset")
    assert session.panel.state().key == (None, ())


def test_images_and_videos_are_saved(viewer, client, session, scene, tmp_path):
    press(session, "image")
    image = read_rgb(tmp_path / "image_001.png")
    assert np.array_equal(image, scene.render(session.panel.state(), scene.viewpoint, (96, 144)))
    press(session, "record")
    viewer.step()
    press(session, "record")
    (frame, *_) = iterate_frames(tmp_path / "video_001.mp4")
    assert frame.shape == (64, 96, 3)
    assert client.downloads.keys() == {"image_001.png", "video_001.mp4"}


def test_an_error_is_shown_in_the_browser(client, session, tmp_path):
    session.settings = dataclasses.replace(session.settings, out=tmp_path / "file")
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    press(session, "image")
    assert client.notifications[-1][0] == "error"


def test_playback_selects_the_frame_that_is_due(session, monkeypatch):
    now = 100.0
    monkeypatch.setattr("nha.viewer.session.time.perf_counter", lambda: now)
    session.panel._playing.value = True
    session.play()
    now += 2 / session.settings.frame_rate + 1e-3
    session.play()
    assert session.panel.frame_index == 2
    session.panel._playing.value = False
    session.play()
    assert session.playback_start is None


def test_the_mesh_is_shown_beside_the_image_or_in_its_place(client, session):
    session.panel._mesh.value = True
    assert session.update_mesh()
    assert client.notifications[-1][0] == "baking the texture"
    assert session.mesh_handle.position[0] == pytest.approx(-0.24)
    session.panel._mode.value = "none"
    session.update_mesh()
    assert session.mesh_handle.position[0] == 0
    session.panel._mesh.value = False
    assert not session.update_mesh()
    assert session.mesh_handle is None


def test_the_camera_is_reset(client, session, scene):
    client.camera.position = np.zeros(3)
    press(session, "camera")
    assert client.camera.position == scene.viewpoint.position
    assert client.camera.fov == scene.viewpoint.fov_rad


def test_each_browser_has_a_state_of_its_own_and_an_error_stops_only_one(viewer, scene, monkeypatch, caplog):
    clients = {number: FakeClient(scene.viewpoint) for number in (1, 2)}
    monkeypatch.setattr(viewer.server, "get_clients", lambda: clients)
    viewer.step()
    viewer.sessions[1].panel._sliders["jaw_open"].value = 20.0
    assert viewer.sessions[2].panel.state().values["jaw_open"] == 0
    clients[1].camera.wxyz = None  # whatever may be wrong with one of them
    for _ in range(10):
        viewer.sessions[2].panel._sliders["jaw_open"].value += 1.0
        assert viewer.step()
    assert len(clients[2].images) == 11
    assert caplog.text.count("a browser is not served") == 5
    del clients[1]
    viewer.step()
    assert viewer.sessions.keys() == {2}


@pytest.mark.parametrize("value", [1e308, -1e308, 1e9])
def test_sliders_stay_in_their_range(session, value):
    for slider in session.panel._sliders.values():
        slider.value = value
    session.panel._frame.value = value if abs(value) < 1e300 else 0
    session.panel._mode.value = "no such mode"
    assert session.panel.mode == "avatar"
    assert 0 <= session.panel.frame_index < 4
    limits = {s.name: s.high if value > 0 else s.low for s in session.scene.sliders}
    assert session.panel.state().values == limits


def test_an_open_avatar_is_viewed_from_python(scene, files, monkeypatch, capsys):
    shown = []

    def interrupt(viewer: Viewer) -> None:
        shown.append(viewer)
        raise KeyboardInterrupt

    monkeypatch.setattr(Viewer, "run", interrupt)
    view(scene.avatar, tracking=files.tracking, port=8610, height=64)
    assert shown[0].scene.avatar is scene.avatar
    assert shown[0].scene.poses.frame_ids == (0, 1, 2, 5)
    assert shown[0].settings.height == 64
    assert shown[0].url in capsys.readouterr().out
