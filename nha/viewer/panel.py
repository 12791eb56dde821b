"""The control panel in the browser: everything that can be clicked, and what it says at a moment."""

from __future__ import annotations

import queue
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nha.viewer.controls import GROUPS
from nha.viewer.stage import LOOKS, Look, Stage, State

AT_REST, TRACKED = "at rest", "tracked frame"
_TITLES = {
    "expression": "Expression",
    "jaw": "Jaw",
    "neck": "Neck",
    "eyes": "Eyes",
    "rotation": "Whole head",
}
_HINTS = {
    "avatar": "the neural picture",
    "surface": "the shaded mesh",
    "normals": "the mesh's normals as colours",
    "nothing": "white, for the 3D mesh alone",
}


@dataclass(frozen=True)
class Command:
    """A button that was pressed. name: reset, camera, picture or record; client: who pressed it."""

    name: str
    client: Any


class Panel:
    """Builds the controls on viser's GUI (shared by all who look) and reads them; `commands` holds pressed buttons."""

    def __init__(self, gui: Any, stage: Stage) -> None:
        """gui: of a viser server."""
        self.commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._frame_ids = stage.frame_ids
        gui.configure_theme(show_logo=False, show_share_button=False)
        gui.main_panel.dock_right()  # beside the picture, not upon it
        self._rate = gui.add_text("drawn", "", disabled=True, hint="Size and number of the pictures.")
        self._look = gui.add_dropdown(
            "picture", LOOKS, hint="; ".join(f"{name}: {text}" for name, text in _HINTS.items())
        )
        self._mesh = gui.add_checkbox(
            "3D mesh",
            False,
            hint="The mesh with a baked texture, as the GLB export has it; beside the picture.",
        )
        self._button(gui, "reset pose", "reset", "All sliders to 0, head at rest.")
        self._button(gui, "reset camera", "camera", "To where the video was taken from.")
        self._button(gui, "save picture", "picture", "As a PNG: a download, and a copy in --out.")
        self._record = self._button(
            gui, "record", "record", "From now on; pressed again it draws the film, every picture in full."
        )
        if self._frame_ids:
            self._add_playback(gui)
        self._sliders = {}
        for group in GROUPS:
            with gui.add_folder(_TITLES[group], expand_by_default=group in ("expression", "jaw", "neck")):
                for s in stage.sliders:
                    if s.group == group:
                        self._sliders[s.name] = gui.add_slider(
                            s.label, float(s.low), float(s.high), float(s.step), 0.0
                        )

    def _button(self, gui: Any, label: str, command: str, hint: str) -> Any:
        button = gui.add_button(label, hint=hint)
        button.on_click(lambda event: self.commands.put(Command(command, event.client)))
        return button

    def _add_playback(self, gui: Any) -> None:
        with gui.add_folder("Video"):
            self._base = gui.add_dropdown(
                "head", (AT_REST, TRACKED), hint="What the sliders' values are added to."
            )
            last = len(self._frame_ids) - 1
            self._frame = gui.add_slider(
                "frame", 0, max(last, 1), 1, 0, disabled=not last, hint="Counted among the tracked frames."
            )
            self._playing = gui.add_checkbox("play", False)
            self._frame.on_update(self._by_hand(lambda: setattr(self._base, "value", TRACKED)))
            self._playing.on_update(self._by_hand(lambda: setattr(self._base, "value", TRACKED)))

    @staticmethod
    def _by_hand(action: Callable[[], None]) -> Callable[[Any], None]:
        """Do it only where a person has changed the control, not the program."""
        return lambda event: action() if event.client is not None else None

    # --- what it says -------------------------------------------------------------------------------------

    def state(self) -> State:
        """What the controls say of the head."""
        values = {name: float(slider.value) for name, slider in self._sliders.items()}
        tracked = self._frame_ids and self._base.value == TRACKED
        return State(values, self._frame_ids[self.frame_index] if tracked else None)

    @property
    def look(self) -> Look:
        """How the head is drawn."""
        return self._look.value

    @property
    def mesh_is_wanted(self) -> bool:
        return self._mesh.value

    @property
    def is_playing(self) -> bool:
        return bool(self._frame_ids) and self._playing.value

    @property
    def frame_index(self) -> int:
        """Which of the stage's frames the slider shows."""
        return min(int(self._frame.value), len(self._frame_ids) - 1)

    # --- what the program changes -------------------------------------------------------------------------

    def show_frame(self, index: int) -> None:
        """Move the frame slider; beyond the last frame it starts again."""
        self._frame.value = index % len(self._frame_ids)

    def reset(self) -> None:
        """All sliders to 0, head at rest, nothing playing."""
        for slider in self._sliders.values():
            slider.value = 0.0
        if self._frame_ids:
            self._playing.value, self._base.value, self._frame.value = False, AT_REST, 0

    def say_rate(self, text: str) -> None:
        """Show how fast it draws."""
        self._rate.value = text

    def say_recording(self, is_running: bool) -> None:
        """Show what the record button does next."""
        self._record.label = "stop recording" if is_running else "record"
