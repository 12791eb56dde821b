"""What the buttons and keys of one browser do."""

from __future__ import annotations

import itertools
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nha.core.errors import UserError
from nha.core.system import get_logger
from nha.data.dataset_folder import write_rgb
from nha.viewer.client_camera import aspect_of_client, viewpoint_of_client
from nha.viewer.recording import Recording, write_video
from nha.viewer.saved_pose import SavedPose, command_of, read_pose, write_pose
from nha.viewer.viewpoint import Viewpoint

if TYPE_CHECKING:
    from nha.viewer.session import ClientSession

_LONGEST_RECORDING_S = 600.0
_SHARE_OF_HALF = 0.85  # of one half of the window, that a head may fill beside another
_SAME_VIEW = 1e-4  # largest difference of the numbers of two equal cameras


class ClientActions:
    """The commands of one browser, by their names in `nha.viewer.panel.SHORTCUTS`."""

    def __init__(self, session: ClientSession) -> None:
        self._session = session

    def run(self, command: str) -> None:
        """Run a command. Raises UserError or OSError where it fails."""
        panel, session = self._session.panel, self._session
        actions = {
            "reset": panel.reset,
            "camera": self._reset_camera,
            "image": self._save_image,
            "record": self._record,
            "save": self._save_pose,
            "load": self._load_pose,
            "copy": self._show_command,
            "mesh": panel.mesh.toggle,
            "wireframe": panel.mesh.toggle_wireframe,
            "play": panel.toggle_play,
            "next": lambda: panel.step_frame(1),
            "previous": lambda: panel.step_frame(-1),
        }
        if session.live is not None:
            actions |= {"follow": panel.live.toggle, "calibrate": session.live.calibrate}
        if command in actions:
            actions[command]()

    # --- camera and poses ---------------------------------------------------------------------------------

    def show(self, pose: SavedPose) -> None:
        """Show a saved pose, with its camera. Raises UserError for a frame that is not there."""
        self._session.panel.show_pose(pose)
        if pose.viewpoint is not None:
            self._move_camera(pose.viewpoint)

    def make_room(self) -> None:
        """Move the camera back until the head fits into one half of the window."""
        session = self._session
        view, centre = viewpoint_of_client(session.client), session.scene.centre
        seen_width = math.tan(view.fov_rad / 2) * aspect_of_client(session.client)  # half of it, at 1 m
        needed = session.scene.half_width / (_SHARE_OF_HALF * seen_width / 2)
        offset = np.array(view.position) - centre
        distance = float(np.linalg.norm(offset))
        if distance < needed:
            position = centre + offset * (needed / max(distance, 1e-6))
            session.client.camera.position = tuple(position.tolist())

    def _reset_camera(self) -> None:
        self._move_camera(self._session.scene.viewpoint)

    def _move_camera(self, view: Viewpoint) -> None:
        camera, centre = self._session.client.camera, self._session.scene.centre
        distance = float(sum((a - b) ** 2 for a, b in zip(centre, view.position, strict=True)) ** 0.5)
        is_default = view == self._session.scene.viewpoint
        target = centre if is_default else view.axes[:, 2] * distance + view.position
        with self._session.client.atomic():
            camera.position, camera.fov = view.position, view.fov_rad
            camera.look_at = tuple(target.tolist())
            camera.up_direction = (0.0, 1.0, 0.0)

    def _pose(self) -> SavedPose:
        """The pose that is shown. Raises UserError while a face is followed."""
        session = self._session
        state, view = session.panel.state(), viewpoint_of_client(session.client)
        if state.live is not None:
            raise UserError("switch off 'follow' first: a pose that follows a face is not one of the sliders")
        values = {name: value for name, value in state.values.items() if value}
        changed = _differs(view, session.scene.viewpoint)
        return SavedPose(values, state.frame_id, view if changed else None)

    def _save_pose(self) -> None:
        path = self._free_path("pose", "json")
        write_pose(path, self._pose())
        self._session.panel.poses.show_saved(path)
        self._offer_download(path)

    def _load_pose(self) -> None:
        path = self._session.panel.poses.chosen
        if path is None:
            raise UserError("no pose is saved yet; press 'save pose' first")
        if self._session.panel.live is not None:
            self._session.panel.live.stop()
        self.show(read_pose(path))

    def _show_command(self) -> None:
        s = self._session.settings
        command = command_of(self._pose(), avatar=s.ckpt, tracking=s.tracking, driving=s.driving)
        self._session.panel.poses.show_command(command)
        self._session.client.add_notification("command", command, auto_close_seconds=10.0)

    # --- images and videos --------------------------------------------------------------------------------

    def _save_image(self) -> None:
        session = self._session
        height = session.settings.height
        size = height, round(height * aspect_of_client(session.client))
        view = viewpoint_of_client(session.client)
        rgb = session.scene.render(session.panel.state(), view, size, session.panel.mode)
        path = self._free_path("image", "png")
        write_rgb(path, rgb)
        self._offer_download(path)

    def _record(self) -> None:
        """Start a recording, or end it and write its video."""
        session = self._session
        if session.recording is None:
            session.recording = Recording()
            session.panel.show_recording(True)
            return
        s, recording = session.settings, session.recording
        session.recording = None
        session.panel.show_recording(False)
        longest_s = recording.times_s[0] + _LONGEST_RECORDING_S if recording.times_s else 0.0
        requests = list(recording.frames(min(time.perf_counter(), longest_s), s.frame_rate))
        size = s.video_height, round(s.video_height * aspect_of_client(session.client))
        with session.notification("rendering the video", f"{len(requests)} frames") as show_progress:
            path = write_video(
                self._free_path("video", "mp4"), session.scene, requests, size, s.frame_rate,
                progress=lambda share: show_progress(f"{share:.0%} of {len(requests)} frames"),
            )  # fmt: skip
        self._offer_download(path)

    def _free_path(self, stem: str, suffix: str) -> Path:
        """A path in the output folder that no file has yet."""
        out = self._session.settings.out
        paths = (out / f"{stem}_{number:03d}.{suffix}" for number in itertools.count(1))
        return next(path for path in paths if not path.exists())

    def _offer_download(self, path: Path) -> None:
        """Send a saved file to the browser, which may run on another machine."""
        get_logger(__name__).info("saved %s", path)
        self._session.client.send_file_download(path.name, path.read_bytes())


def _differs(view: Viewpoint, other: Viewpoint) -> bool:
    # the axes, because a quaternion and its opposite are the same rotation
    numbers, others = ([*v.axes.ravel().tolist(), *v.position, v.fov_rad] for v in (view, other))
    return any(abs(a - b) > _SAME_VIEW for a, b in zip(numbers, others, strict=True))
