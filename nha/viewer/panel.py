"""The control panel in the browser: sliders, buttons and menus, and their current values."""

from __future__ import annotations

import queue
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nha.core.errors import UserError
from nha.live.driver import LivePose
from nha.live.session import LiveSession
from nha.viewer.controls import GROUPS
from nha.viewer.panel_parts import LivePanel, MeshPanel, PosePanel
from nha.viewer.saved_pose import SavedPose
from nha.viewer.scene import RENDER_MODES, AvatarScene, ControlState, RenderMode

NEUTRAL, TRACKED = "neutral", "tracked frame"
_TITLES = {
    "expression": "Expression",
    "jaw": "Jaw",
    "neck": "Neck",
    "eyes": "Eyes",
    "rotation": "Whole head",
}
# Key, what it does, and the name of its command. W, A, S, D, Q, E and the arrows move the camera.
SHORTCUTS = (
    ("R", "reset pose", "reset"),
    ("C", "reset camera", "camera"),
    ("I", "save image", "image"),
    ("V", "record", "record"),
    ("P", "save pose", "save"),
    ("L", "load pose", "load"),
    ("K", "copy as command", "copy"),
    ("M", "3D mesh", "mesh"),
    ("G", "wireframe", "wireframe"),
    ("space", "play the video", "play"),
    ("pagedown", "next frame", "next"),
    ("pageup", "previous frame", "previous"),
    ("F", "follow the face", "follow"),
    ("N", "calibrate", "calibrate"),
)
_MODE_HINTS = {
    "avatar": "the neural image",
    "surface": "the shaded mesh",
    "normals": "the mesh's normals as colours",
    "none": "a white background, for the 3D mesh alone",
}


class Panel:
    """The controls of one browser in viser's GUI.

    Attributes:
        commands: names of pressed buttons and shortcuts, see `SHORTCUTS`.
        live: controls of live driving; None without it.
        mesh: controls of the 3D mesh.
        poses: saved poses.
    """

    def __init__(self, gui: Any, scene: AvatarScene, out: Path, live: LiveSession | None = None) -> None:
        """Show the controls.

        Args:
            gui: of a viser client.
            scene: the avatar.
            out: folder of saved poses.
            live: follows a face; None without live driving.
        """
        self.commands: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._ranges = {s.name: (float(s.low), float(s.high)) for s in scene.sliders}
        self._frame_ids = scene.poses.frame_ids
        gui.configure_theme(show_logo=False, show_share_button=False)
        gui.main_panel.dock_right()  # beside the image, not over it
        self._rate = gui.add_text("rendered", "", disabled=True, hint="Size and frame rate of the images.")
        self._mode = gui.add_dropdown(
            "image", RENDER_MODES, hint="; ".join(f"{name}: {text}" for name, text in _MODE_HINTS.items())
        )

        def button(label: str, command: str, hint: str) -> Any:
            return self._button(gui, label, command, hint)

        button("reset pose", "reset", "All sliders to 0, neutral pose. Key R.")
        button("reset camera", "camera", "To the camera of the video. Key C.")
        button("save image", "image", "As a PNG: a download, and a copy in --out. Key I.")
        self._record = button(
            "record", "record", "Start; pressed again, the video is rendered in full resolution. Key V."
        )
        self._live = live
        self.live = None if live is None else LivePanel(gui, button, live.source.name)
        self.mesh = MeshPanel(gui)
        self.poses = PosePanel(gui, button, out)
        if self._frame_ids:
            self._add_playback(gui)
        self._sliders = {}
        for group in GROUPS:
            with gui.add_folder(_TITLES[group], expand_by_default=group in ("expression", "jaw", "neck")):
                for s in scene.sliders:
                    if s.group == group:
                        self._sliders[s.name] = gui.add_slider(
                            s.label, float(s.low), float(s.high), float(s.step), 0.0, marks=(0.0,)
                        )
        self._add_shortcuts(gui)

    def _button(self, gui: Any, label: str, command: str, hint: str) -> Any:
        button = gui.add_button(label, hint=hint)
        button.on_click(lambda event: self.commands.put(command))
        return button

    def _add_shortcuts(self, gui: Any) -> None:
        """Register the keys; the page also lists them (Ctrl or Cmd with K)."""
        for key, label, command in SHORTCUTS:
            if command in ("follow", "calibrate") and self.live is None:
                continue
            if command in ("play", "next", "previous") and not self._frame_ids:
                continue
            entry = gui.add_command(label, hotkey=key)
            entry.on_trigger(lambda event, command=command: self.commands.put(command))

    def _add_playback(self, gui: Any) -> None:
        with gui.add_folder("Video"):
            self._base = gui.add_dropdown(
                "pose", (NEUTRAL, TRACKED), hint="The pose to which the sliders' values are added."
            )
            last = len(self._frame_ids) - 1
            self._frame = gui.add_slider(
                "frame", 0, max(last, 1), 1, 0, disabled=not last, hint="Number among the tracked frames."
            )
            self._playing = gui.add_checkbox("play", False)
            self._frame.on_update(self._on_user_change(lambda: setattr(self._base, "value", TRACKED)))
            self._playing.on_update(self._on_user_change(lambda: setattr(self._base, "value", TRACKED)))

    @staticmethod
    def _on_user_change(action: Callable[[], None]) -> Callable[[Any], None]:
        """A callback that is skipped where the program has changed the control, not a user."""
        return lambda event: action() if event.client is not None else None

    # --- current values -----------------------------------------------------------------------------------

    def state(self) -> ControlState:
        """The values of the sliders, which a browser cannot move out of their ranges, and the base pose."""
        values = {
            name: min(max(float(slider.value), self._ranges[name][0]), self._ranges[name][1])
            for name, slider in self._sliders.items()
        }
        tracked = self._frame_ids and self._base.value == TRACKED
        return ControlState(values, self._frame_ids[self.frame_index] if tracked else None, self._live_pose())

    def _live_pose(self) -> LivePose | None:
        return self._live.pose if self.live is not None and self.live.follows else None

    @property
    def mode(self) -> RenderMode:
        """What is rendered."""
        return self._mode.value if self._mode.value in RENDER_MODES else RENDER_MODES[0]

    @property
    def is_side_by_side(self) -> bool:
        """Whether image and 3D mesh have one half of the window each."""
        return self.mesh.is_shown and self.mesh.is_beside and self.mode != "none"

    @property
    def is_playing(self) -> bool:
        return bool(self._frame_ids) and self._playing.value

    @property
    def frame_index(self) -> int:
        """The row of the selected frame among the frame ids."""
        return min(max(int(self._frame.value), 0), len(self._frame_ids) - 1)

    # --- changes by the program ---------------------------------------------------------------------------

    def show_pose(self, pose: SavedPose) -> None:
        """Move the sliders to a saved pose. Raises UserError for a frame that is not there."""
        if pose.frame is not None and pose.frame not in self._frame_ids:
            raise UserError(f"the pose belongs to frame {pose.frame}, which the tracking file does not have")
        self.reset()
        for name, value in pose.values.items():
            if name in self._sliders:
                self._sliders[name].value = min(max(value, self._ranges[name][0]), self._ranges[name][1])
        if pose.frame is not None:
            self._base.value, self._frame.value = TRACKED, self._frame_ids.index(pose.frame)

    def toggle_play(self) -> None:
        """Play or stop."""
        if self._frame_ids:
            self._playing.value = not self._playing.value
            self._base.value = TRACKED

    def step_frame(self, step: int) -> None:
        """Select a frame that is `step` frames further."""
        if self._frame_ids:
            self._base.value = TRACKED
            self.show_frame(self.frame_index + step)

    def show_frame(self, index: int) -> None:
        """Move the frame slider; after the last frame it starts again."""
        self._frame.value = index % len(self._frame_ids)

    def reset(self) -> None:
        """All sliders to 0, neutral pose, playback stopped."""
        for slider in self._sliders.values():
            slider.value = 0.0
        if self._frame_ids:
            self._playing.value, self._base.value, self._frame.value = False, NEUTRAL, 0

    def show_rate(self, text: str) -> None:
        """Show the size and the frame rate of the images."""
        self._rate.value = text

    def show_recording(self, is_running: bool) -> None:
        """Label the record button with its next action."""
        self._record.label = "stop recording" if is_running else "record"
