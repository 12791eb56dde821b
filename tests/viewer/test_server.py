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
from nha.viewer.panel import Command
from nha.viewer.server import Viewer
from nha.viewer.settings import ViewerSettings

pytest.importorskip("viser", reason="viser is not installed ([viewer] in setup.py)")


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
        self.scene = SimpleNamespace(set_background_image=lambda rgb, **options: self.images.append(rgb))

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


def press(viewer: Viewer, client: FakeClient, name: str) -> None:
    viewer.panel.commands.put(Command(name, client))
    viewer._run_commands()


def test_a_change_is_rendered_and_sent(viewer, client, scene):
    assert viewer._render_changes()
    assert client.images[-1].shape == (48, 72, 3)
    viewer.panel._sliders["jaw_open"].value = 20.0
    assert viewer._render_changes()
    assert viewer.panel.state().values["jaw_open"] == 20
    press(viewer, client, "reset")
    assert viewer.panel.state().key == (None, ())


def test_images_and_videos_are_saved(viewer, client, scene, tmp_path):
    press(viewer, client, "image")
    image = read_rgb(tmp_path / "image_001.png")
    assert np.array_equal(image, scene.render(viewer.panel.state(), scene.viewpoint, (96, 144)))
    press(viewer, client, "record")
    viewer._render_changes()
    press(viewer, client, "record")
    (frame, *_) = iterate_frames(tmp_path / "video_001.mp4")
    assert frame.shape == (64, 96, 3)
    assert client.downloads.keys() == {"image_001.png", "video_001.mp4"}


def test_an_error_is_shown_in_the_browser(viewer, client, tmp_path):
    viewer.settings = dataclasses.replace(viewer.settings, out=tmp_path / "file")
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    press(viewer, client, "image")
    assert client.notifications[-1][0] == "error"


def test_playback_selects_the_frame_that_is_due(viewer, client, monkeypatch):
    now = 100.0
    monkeypatch.setattr("nha.viewer.server.time.perf_counter", lambda: now)
    viewer.panel._playing.value = True
    viewer._play()
    now += 2 / viewer.settings.frame_rate + 1e-3
    viewer._play()
    assert viewer.panel.frame_index == 2
    viewer.panel._playing.value = False
    viewer._play()
    assert viewer._playback_start is None


def test_the_mesh_is_shown_beside_the_image_or_in_its_place(viewer, client):
    viewer.panel._mesh.value = True
    assert viewer._update_mesh()
    assert client.notifications[-1][0] == "baking the texture"
    assert viewer._mesh_handle.position[0] == pytest.approx(-0.24)
    viewer.panel._mode.value = "none"
    viewer._update_mesh()
    assert viewer._mesh_handle.position[0] == 0
    viewer.panel._mesh.value = False
    assert not viewer._update_mesh()
    assert viewer._mesh_handle is None


def test_the_camera_is_reset(viewer, client, scene):
    client.camera.position = np.zeros(3)
    press(viewer, client, "camera")
    assert client.camera.position == scene.viewpoint.position
    assert client.camera.fov == scene.viewpoint.fov_rad


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
