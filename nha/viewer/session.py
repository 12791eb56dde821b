"""The state of one browser: its controls, its camera, and what it was sent."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from nha.core.errors import UserError
from nha.live.driver import LivePose, describe
from nha.live.session import LiveSession
from nha.live.timing import LiveTiming
from nha.viewer.actions import ClientActions
from nha.viewer.adaptive_rendering import ClientRenderer, RenderedImage, ResolutionRules
from nha.viewer.client_camera import aspect_of_client, viewpoint_of_client
from nha.viewer.panel import Panel
from nha.viewer.recording import Recording
from nha.viewer.saved_pose import open_pose
from nha.viewer.scene import AvatarScene, ControlState, RenderRequest
from nha.viewer.scene_mesh import SceneMesh
from nha.viewer.settings import ViewerSettings
from nha.viewer.viewpoint import Viewpoint

MESH = "/mesh"
_WIRE_COLOUR = (40, 90, 160)
_QUALITY_MOVING, _QUALITY_FULL = 90, 95  # of JPEGs
_LIVE_FPS = 25.0  # images per second while a face is followed
_LIVE_STATUS_S = 0.3  # between two texts


class ClientSession:
    """A browser's panel, images, 3D mesh and recording; `step` brings all of them up to date."""

    def __init__(
        self,
        client: Any,
        scene: AvatarScene,
        mesh: SceneMesh,
        settings: ViewerSettings,
        live: LiveSession | None = None,
    ) -> None:
        """Show the controls.

        Args:
            client: of a viser server.
            scene: the avatar, which all browsers share.
            mesh: the 3D mesh of this browser.
            settings: of the viewer.
            live: follows a face, for all browsers; None without live driving.
        """
        self.client, self.scene, self.mesh, self.settings, self.live = client, scene, mesh, settings, live
        self.panel = Panel(client.gui, scene, settings.out, live)
        self.actions = ClientActions(self)
        target_fps = settings.target_fps if live is None else max(settings.target_fps, _LIVE_FPS)
        rules = ResolutionRules(settings.height, settings.min_height, 1 / target_fps)
        self.renderer = ClientRenderer(scene, rules)
        self.recording: Recording | None = None
        self.mesh_handle: Any = None
        self.mesh_style: tuple[bool, bool] | None = None  # of the handle: wireframe, side by side
        self.playback_start: tuple[float, int] | None = None
        self.timing, self._timing_shown_at = LiveTiming(), 0.0
        if settings.pose is not None:
            self.actions.show(open_pose(settings.pose, [s.name for s in scene.sliders]))

    def step(self) -> bool:
        """Run pressed buttons, select the frame that is due, and send what has changed; returns whether it was busy."""
        self.run_commands()
        self.play()
        return self.render_changes()

    # --- rendering ----------------------------------------------------------------------------------------

    def render_changes(self) -> bool:
        """Render what has changed; returns whether there was anything."""
        state, viewpoint = self._state(), viewpoint_of_client(self.client)
        busy = self.update_mesh(state, viewpoint)
        if self.recording is not None:
            self.recording.add(time.perf_counter(), RenderRequest(state, viewpoint, self.panel.mode))
        aspect = aspect_of_client(self.client)
        if self.panel.is_side_by_side:
            viewpoint = viewpoint.turned(viewpoint.quarter_angle_rad(aspect))
        rendered = self.renderer.step(RenderRequest(state, viewpoint, self.panel.mode), aspect)
        if rendered is None:
            return busy
        self._send(rendered)
        if self.live is not None:
            self._show_live(state.live)
        return True

    def _state(self) -> ControlState:
        """The values of the controls; where live driving has failed, the reason is shown and it stops."""
        try:
            return self.panel.state()
        except UserError as error:
            self.show_error(error)
            self.panel.live.stop()
            return self.panel.state()

    def _send(self, rendered: RenderedImage) -> None:
        quality = _QUALITY_FULL if rendered.is_full else _QUALITY_MOVING
        self.client.scene.set_background_image(rendered.rgb, format="jpeg", jpeg_quality=quality)
        rate = "" if rendered.rate is None else f", {rendered.rate:.1f} fps"
        self.panel.show_rate(f"{rendered.rgb.shape[1]} x {rendered.rgb.shape[0]}{rate}")

    def _show_live(self, pose: LivePose | None) -> None:
        """Show status and speed of live driving, a few times a second."""
        now = time.perf_counter()
        if pose is not None:
            self.timing.add(pose.time_s, now)
        if now - self._timing_shown_at >= _LIVE_STATUS_S:
            self._timing_shown_at = now
            if self.panel.live.follows:
                self.panel.live.show(describe(pose), *self.timing.texts())
            else:
                self.panel.live.show("not followed", "", "")

    def update_mesh(self, state: ControlState, viewpoint: Viewpoint) -> bool:
        """Show the 3D mesh in a pose, or remove it; returns whether a new mesh was sent."""
        panel = self.panel.mesh
        style = panel.is_wireframe, self.panel.is_side_by_side
        if not panel.is_shown or (self.mesh_style is not None and style[0] != self.mesh_style[0]):
            self._remove_mesh()
        if not panel.is_shown:
            return False
        if self.panel.is_side_by_side and (self.mesh_style is None or not self.mesh_style[1]):
            self.actions.make_room()
        sent = self._send_wireframe(state) if panel.is_wireframe else self._send_textured(state)
        if self.mesh_handle is not None:
            self.mesh_style = style
            self._place_mesh(viewpoint)
        return sent

    def _remove_mesh(self) -> None:
        if self.mesh_handle is not None:
            self.mesh_handle.remove()
            self.mesh_handle, self.mesh_style = None, None
            self.mesh.invalidate()

    def _send_textured(self, state: ControlState) -> bool:
        if not self.mesh.is_baked:
            with self.notification("baking the texture", "takes a few seconds, once"):
                self.mesh.bake()
        data = self.mesh.update(state, self.panel.mesh.opacity)
        if data is not None:
            self.mesh_handle = self.client.scene.add_glb(MESH, data, cast_shadow=False, receive_shadow=False)
        return data is not None

    def _send_wireframe(self, state: ControlState) -> bool:
        vertices = self.mesh.vertices(state, self.panel.mesh.opacity)
        if vertices is not None:
            self.mesh_handle = self.client.scene.add_mesh_simple(
                MESH, vertices, self.scene.avatar.head.faces.cpu().numpy(), color=_WIRE_COLOUR,
                wireframe=True, opacity=self.panel.mesh.opacity, cast_shadow=False, receive_shadow=False,
            )  # fmt: skip
        return vertices is not None

    def _place_mesh(self, viewpoint: Viewpoint) -> None:
        """Move the mesh into the right half of the window, or to where the head is in the image."""
        rotation, shift = (1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0)
        if self.panel.is_side_by_side:
            angle_rad = viewpoint.quarter_angle_rad(aspect_of_client(self.client))
            rotation, shift = viewpoint.object_turn(angle_rad)
        handle = self.mesh_handle
        if tuple(handle.position) != shift or tuple(handle.wxyz) != rotation:
            with self.client.atomic():
                handle.wxyz, handle.position = rotation, shift

    def play(self) -> None:
        """Select the frame that is due; frames are skipped where rendering is slower than the video."""
        if not self.panel.is_playing:
            self.playback_start = None
            return
        now = time.perf_counter()
        if self.playback_start is None:
            self.playback_start = now, self.panel.frame_index
        start, first = self.playback_start
        self.panel.show_frame(first + int((now - start) * self.settings.frame_rate))

    # --- commands -----------------------------------------------------------------------------------------

    def run_commands(self) -> None:
        """Run the commands of pressed buttons and keys; what goes wrong is shown in the browser."""
        while not self.panel.commands.empty():
            try:
                self.actions.run(self.panel.commands.get())
            except (UserError, OSError) as error:
                self.show_error(error)

    def show_error(self, error: Exception) -> None:
        """Show what went wrong in the browser."""
        self.client.add_notification("error", str(error), color="red")

    @contextlib.contextmanager
    def notification(self, title: str, text: str) -> Iterator[Callable[[str], None]]:
        """A notification in the browser while the block runs; yields a function that changes its text."""
        notification = self.client.add_notification(title, text, loading=True, with_close_button=False)

        def change(changed: str) -> None:
            notification.body = changed

        try:
            yield change
        finally:
            notification.remove()
