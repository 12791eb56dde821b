"""The viewer's server with a browser that is replaced by an object: commands, rendering, recording, 3D mesh."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import shlex
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from pygltflib import GLTF2

from nha.core.errors import UserError
from nha.data.dataset_folder import read_rgb
from nha.data.video_io import iterate_frames
from nha.live.driver import LivePose
from nha.render.camera import project
from nha.viewer.app import view
from nha.viewer.panel import SHORTCUTS
from nha.viewer.saved_pose import parse_pose
from nha.viewer.scene import ControlState
from nha.viewer.server import Viewer
from nha.viewer.session import ClientSession
from nha.viewer.settings import ViewerSettings
from nha.viewer.viewpoint import Viewpoint

pytest.importorskip("viser", reason="viser is not installed ([viewer] in setup.py)")


class FakeGui:
    """Controls that hold their values."""

    def __init__(self) -> None:
        self.main_panel = SimpleNamespace(dock_right=lambda: None)
        self.keys: dict[str, Any] = {}

    def configure_theme(self, **options: Any) -> None:
        pass

    def add_folder(self, label: str, **options: Any) -> contextlib.AbstractContextManager:
        return contextlib.nullcontext()

    def add_slider(self, label, low, high, step, value, **options: Any) -> SimpleNamespace:
        slider = self._control(value)
        slider.options = options
        return slider

    def add_dropdown(self, label, choices, **options: Any) -> SimpleNamespace:
        return self._control(choices[0])

    def add_text(self, label, value="", **options: Any) -> SimpleNamespace:
        return self._control(value)

    add_checkbox = add_text

    def add_html(self, content: str, **options: Any) -> SimpleNamespace:
        return SimpleNamespace(content=content)

    add_markdown = add_html

    def add_command(self, label: str, *, hotkey: str, **options: Any) -> SimpleNamespace:
        return SimpleNamespace(on_trigger=lambda action: self.keys.setdefault(hotkey, action))

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
            set_background_image=lambda rgb, **options: self.images.append(rgb),
            add_glb=self._add_glb,
            add_mesh_simple=self._add_mesh,
        )
        self.gui = FakeGui()

    def _add_glb(self, name: str, data: bytes, **options: Any) -> SimpleNamespace:
        self.meshes.append(data)
        return SimpleNamespace(
            position=(0.0, 0.0, 0.0), wxyz=(1.0, 0.0, 0.0, 0.0), remove=self.meshes.clear, options=options
        )

    def _add_mesh(self, name: str, vertices, faces, **options: Any) -> SimpleNamespace:
        return self._add_glb(name, vertices, **options)

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


def test_image_and_mesh_have_one_half_of_the_window_each(viewer, client, session, scene):
    viewer.step()
    alone = client.images[-1]
    session.panel.mesh._shown.value = True
    assert viewer.step()
    assert client.notifications[-1][0] == "baking the texture"
    image, width = client.images[-1], client.images[-1].shape[1]
    columns = ((image < 250).any((0, 2))).nonzero()[0]
    assert columns.max() < width / 2 + 2
    assert columns.mean() == pytest.approx(width / 4, abs=3)
    assert ((alone < 250).any((0, 2))).nonzero()[0].mean() == pytest.approx(alone.shape[1] / 2, abs=3)
    assert on_screen(session, scene)[0] == pytest.approx(3 * width / 4, abs=3)


def test_in_a_narrow_window_the_camera_makes_room_for_both(viewer, client, session):
    client.camera.aspect = 0.6
    session.panel.mesh._shown.value = True
    viewer.step()
    session.renderer._resolution.rules = dataclasses.replace(session.renderer._resolution.rules, rest_s=0.0)
    viewer.step()
    image, width = client.images[-1], client.images[-1].shape[1]
    columns = ((image < 250).any((0, 2))).nonzero()[0]
    assert columns.min() > 0
    assert columns.max() < width / 2
    distance = np.linalg.norm(client.camera.position - session.scene.centre)
    viewer.step()
    assert np.linalg.norm(client.camera.position - session.scene.centre) == pytest.approx(distance)


def on_screen(session: ClientSession, scene) -> np.ndarray:
    """Position in pixels of the middle of the 3D mesh in the browser's image."""
    handle = session.mesh_handle
    axes = Viewpoint(handle.wxyz, (0.0, 0.0, 0.0), 1.0).axes
    moved = axes @ scene.centre + np.array(handle.position)
    camera = scene.viewpoint.camera(session.client.images[-1].shape[:2])
    return project(torch.from_numpy(moved)[None, None].float(), camera)[0, 0].numpy()


def test_the_mesh_may_be_in_the_place_of_the_image(viewer, client, session, scene):
    session.panel.mesh._shown.value = True
    session.panel._mode.value = "none"  # nothing is beside it
    viewer.step()
    assert session.mesh_handle.position == (0.0, 0.0, 0.0)
    session.panel._mode.value, session.panel.mesh._beside.value = "avatar", False
    viewer.step()
    assert session.mesh_handle.position == (0.0, 0.0, 0.0)
    session.panel.mesh._shown.value = False
    viewer.step()
    assert session.mesh_handle is None


def test_wireframe_and_opacity(viewer, client, session, scene, monkeypatch):
    monkeypatch.setattr("nha.viewer.scene_mesh._MIN_INTERVAL_S", 0.0)
    press(session, "wireframe")  # which shows the mesh
    session.panel.mesh._opacity.value = 0.5
    viewer.step()
    assert session.mesh_handle.options["wireframe"]
    assert session.mesh_handle.options["opacity"] == 0.5
    assert client.meshes[-1].shape == (scene.avatar.head.n_vertices, 3)
    press(session, "wireframe")
    viewer.step()
    (material, *_) = GLTF2.load_from_bytes(client.meshes[-1]).materials
    assert material.alphaMode == "BLEND"
    assert material.pbrMetallicRoughness.baseColorFactor[3] == 0.5


def test_poses_are_saved_loaded_and_shown_as_a_command(viewer, client, session, scene, tmp_path):
    session.panel._sliders["jaw_open"].value = 20.0
    press(session, "next")  # the second tracked frame
    press(session, "save")
    client.camera.position = client.camera.position + np.array([0.0, 0.1, 0.0])
    state = session.panel.state()
    press(session, "save")
    assert client.downloads.keys() == {"pose_001.json", "pose_002.json"}
    press(session, "copy")
    words = shlex.split(client.notifications[-1][1])
    assert words[:3] == ["nha", "view", "--pose"]
    again = parse_pose(words[3])
    assert again.values == {"jaw_open": 20.0}
    assert again.frame == 1
    assert again.viewpoint.position[1] == pytest.approx(scene.viewpoint.position[1] + 0.1, abs=1e-4)
    assert "jaw_open=20" in session.panel.poses._command.content
    press(session, "reset")
    press(session, "camera")
    press(session, "load")  # the latest one, with its camera
    assert session.panel.state() == state
    assert client.camera.position[1] == pytest.approx(scene.viewpoint.position[1] + 0.1)


def test_a_pose_of_the_settings_is_shown_first(scene, client, session):
    settings = dataclasses.replace(session.settings, pose="frame=5 jaw_open=500")
    shown = ClientSession(FakeClient(scene.viewpoint), scene, session.mesh, settings)
    assert shown.panel.state().frame_id == 5
    assert shown.panel.state().values["jaw_open"] == 40  # the end of the slider


def test_every_key_runs_its_command(client, session):
    assert client.gui.keys.keys() == {key for key, *_ in SHORTCUTS if key not in "FN"}  # no live driving here
    for trigger in client.gui.keys.values():
        trigger(None)
    commands = [session.panel.commands.get() for _ in client.gui.keys]
    assert {"reset", "copy", "mesh", "next"} <= set(commands)
    client.gui.keys["M"](None)
    session.run_commands()
    assert session.panel.mesh.is_shown


class FakeLive:
    """Live driving whose pose the test sets."""

    source = SimpleNamespace(name="camera 0")

    def __init__(self, scene) -> None:
        self.found: LivePose | Exception = LivePose(1, 0.0, "following", 1.0, scene.poses.neutral)
        self.calibrations = 0

    @property
    def pose(self) -> LivePose:
        if isinstance(self.found, Exception):
            raise self.found
        return self.found

    def calibrate(self) -> None:
        self.calibrations += 1


def test_the_avatar_follows_a_face_and_the_panel_says_how(scene, session, monkeypatch):
    monkeypatch.setattr("nha.viewer.session._LIVE_STATUS_S", 0.0)
    live = FakeLive(scene)
    client = FakeClient(scene.viewpoint)
    following = ClientSession(client, scene, session.mesh, session.settings, live)
    following.step()
    turned = scene.poses.neutral.replace(neck=scene.poses.neutral.neck + 0.3)
    for number in (2, 3):
        live.found = LivePose(number, time.perf_counter() - 0.05, "following", 1.0, turned)
        assert following.step()
    expected = scene.render(ControlState(live=live.found), scene.viewpoint, client.images[-1].shape[:2])
    assert np.array_equal(client.images[-1], expected)
    assert following.panel.live._status.content == "following"
    assert re.fullmatch(r"\d+ fps", following.panel.live._speed.value)
    assert re.fullmatch(r"\d+ ms \(95 %: \d+ ms\)", following.panel.live._latency.value)
    live.found = dataclasses.replace(live.found, number=4, status="lost")
    following.step()
    assert following.panel.live._status.content == "face lost: the last pose is kept"
    press(following, "calibrate")
    assert live.calibrations == 1
    press(following, "save")  # such a pose is not one of the sliders
    assert "switch off 'follow'" in client.notifications[-1][1]
    press(following, "follow")
    assert following.panel.state().live is None
    following.step()
    assert (following.panel.live._status.content, following.panel.live._speed.value) == ("not followed", "")


def test_where_the_camera_fails_the_reason_is_shown_once_and_the_rest_works(scene, session):
    live, client = FakeLive(scene), FakeClient(scene.viewpoint)
    following = ClientSession(client, scene, session.mesh, session.settings, live)
    live.found = UserError("the camera gives no more images")
    for _ in range(3):
        following.step()
    assert client.notifications == [("error", "the camera gives no more images")]
    assert not following.panel.live.follows
    assert client.images


def test_sliders_mark_their_zero(client, session):
    assert all(slider.options["marks"] == (0.0,) for slider in session.panel._sliders.values())


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


@pytest.mark.parametrize(("pose", "message"), [("grin=1", "no slider 'grin'"), ("frame=77", "no frame 77")])
def test_a_wrong_pose_is_refused_before_the_viewer_starts(scene, files, monkeypatch, pose, message):
    monkeypatch.setattr(Viewer, "run", lambda viewer: None)
    with pytest.raises(UserError, match=message):
        view(scene.avatar, tracking=files.tracking, port=8610, pose=pose)
