"""Parts of the control panel: the 3D mesh, saved poses and live driving."""

from __future__ import annotations

import html
from collections.abc import Callable
from pathlib import Path
from typing import Any

_POSE_STEM, _POSE_SUFFIX = "pose", "json"
NO_POSE = "(none)"
_COPY_SCRIPT = "navigator.clipboard.writeText(this.previousElementSibling.value)"


class MeshPanel:
    """Whether and how the 3D mesh is shown."""

    def __init__(self, gui: Any) -> None:
        """gui: of a viser client."""
        with gui.add_folder("Mesh"):
            self._shown = gui.add_checkbox(
                "3D mesh", False, hint="The mesh with a baked texture, as in the GLB export. Key M."
            )
            self._beside = gui.add_checkbox(
                "side by side", True, hint="The mesh beside the image, not in the same place."
            )
            self._wireframe = gui.add_checkbox("wireframe", False, hint="The mesh's edges. Key G.")
            self._opacity = gui.add_slider("opacity", 0.0, 1.0, 0.05, 1.0, hint="Of the 3D mesh.")

    @property
    def is_shown(self) -> bool:
        return bool(self._shown.value)

    @property
    def is_beside(self) -> bool:
        """Whether mesh and image have one half of the window each, where both are shown."""
        return bool(self._beside.value)

    @property
    def is_wireframe(self) -> bool:
        return bool(self._wireframe.value)

    @property
    def opacity(self) -> float:
        """0..1."""
        return min(max(float(self._opacity.value), 0.0), 1.0)

    def toggle(self) -> None:
        """Show or hide the mesh."""
        self._shown.value = not self.is_shown

    def toggle_wireframe(self) -> None:
        """Wireframe or texture; a hidden mesh is shown."""
        self._wireframe.value = not self.is_wireframe
        self._shown.value = True


class PosePanel:
    """Buttons that save and load poses, and the command of the current one."""

    def __init__(self, gui: Any, button: Callable[..., Any], folder: Path) -> None:
        """Show the poses that are there.

        Args:
            gui: of a viser client.
            button: adds a button: label, command, hint.
            folder: of pose files.
        """
        self._folder, self._sent = folder, ""
        with gui.add_folder("Poses", expand_by_default=False):
            button("save pose", "save", "Sliders, frame and camera: a download, and a copy in --out. Key P.")
            self._files = gui.add_dropdown("saved", (NO_POSE, *self._names()), hint="Pose files in --out.")
            button("load pose", "load", "The chosen pose file. Key L loads the latest one.")
            button("copy as command", "copy", "The command that opens this pose. Key K.")
            self._command = gui.add_html("")

    def _names(self) -> list[str]:
        return sorted(path.name for path in self._folder.glob(f"{_POSE_STEM}_*.{_POSE_SUFFIX}"))

    @property
    def chosen(self) -> Path | None:
        """The chosen file, the latest one where none is chosen; None without any. Only files of the folder count."""
        names = self._names()
        if self._files.value in names:
            return self._folder / self._files.value
        return self._folder / names[-1] if names else None

    def show_saved(self, path: Path) -> None:
        """Add a new file to the menu and choose it."""
        self._files.options = (NO_POSE, *self._names())
        self._files.value = path.name

    def show_command(self, command: str) -> None:
        """Show a command with a button that copies it."""
        self._command.content = (
            f'<textarea readonly rows="4" style="width:100%;font-size:11px" onclick="this.select()">'
            f'{html.escape(command)}</textarea><button onclick="{_COPY_SCRIPT}">copy to clipboard</button>'
        )


class LivePanel:
    """Status of live driving, and whether the browser's avatar follows."""

    def __init__(self, gui: Any, button: Callable[..., Any], source: str) -> None:
        """Follow at once.

        Args:
            gui: of a viser client.
            button: adds a button: label, command, hint.
            source: name of the camera or file.
        """
        with gui.add_folder("Live driving"):
            self._follow = gui.add_checkbox("follow", True, hint=f"Follow the face of {source}. Key F.")
            self._status = gui.add_markdown("")  # it wraps: the longest status is a sentence
            self._speed = gui.add_text("speed", "", disabled=True, hint="Images per second.")
            self._latency = gui.add_text(
                "latency", "", disabled=True,
                hint="Time from the camera's image to the avatar's: the median, and what 95 % are below.",
            )  # fmt: skip
            button("calibrate", "calibrate", "Find the relaxed face anew within a second. Key N.")

    @property
    def follows(self) -> bool:
        return bool(self._follow.value)

    def toggle(self) -> None:
        """Follow or stop."""
        self._follow.value = not self.follows

    def stop(self) -> None:
        """No longer follow."""
        self._follow.value = False

    def show(self, status: str, speed: str, latency: str) -> None:
        """Show the status and the timing; only changes are sent."""
        if self._status.content != status:
            self._status.content = status
        for field, text in ((self._speed, speed), (self._latency, latency)):
            if field.value != text:
                field.value = text
