"""The sliders in a notebook: the avatar and its shaded mesh side by side, drawn anew when something was moved."""

from __future__ import annotations

import ipywidgets as widgets
import numpy as np

from nha.export.glb_file import png_of
from nha.viewer.controls import GROUPS
from nha.viewer.stage import Stage, State
from nha.visualization.layout import side_by_side

AT_REST = "at rest"


class NotebookPanel:
    """`box` is what a notebook displays; `state` what it says.

    The pictures are drawn from the stage's viewpoint, when a slider is let go.
    """

    def __init__(self, stage: Stage, height: int = 256) -> None:
        """height: of each of the two square pictures, pixels."""
        self._stage, self._height = stage, height
        self.sliders = {
            s.name: widgets.FloatSlider(
                min=s.low,
                max=s.high,
                step=s.step,
                description=s.label,
                continuous_update=False,
                value=0.0,
                style={"description_width": "9em"},
                layout={"width": "26em"},
            )
            for s in stage.sliders
        }
        self.frame = widgets.Dropdown(
            options=[(AT_REST, None), *((f"frame {i}", i) for i in stage.frame_ids)], description="head"
        )
        self._reset = widgets.Button(description="reset")
        self._image = widgets.Image(format="png", layout={"flex": "0 0 auto", "align_self": "flex-start"})
        columns = [
            widgets.VBox(
                [
                    widgets.Label(group),
                    *(self.sliders[s.name] for s in stage.sliders if s.group == group),
                ]
            )
            for group in GROUPS
        ]
        self.box = widgets.VBox(
            [
                self._image,
                widgets.HBox([self.frame, self._reset]),
                widgets.HBox([columns[0], widgets.VBox(columns[1:])]),
            ]
        )
        for control in (*self.sliders.values(), self.frame):
            control.observe(lambda change: self._draw(), names="value")
        self._reset.on_click(lambda button: self.reset())
        self._is_resetting = False
        self._draw()

    @property
    def state(self) -> State:
        values = {name: slider.value for name, slider in self.sliders.items()}
        return State(values, self.frame.value)

    def pictures(self) -> tuple[np.ndarray, np.ndarray]:
        """The avatar and its shaded mesh as the sliders stand, uint8 [H, H, 3] each."""
        size = self._height, self._height
        avatar, surface = (
            self._stage.picture(self.state, self._stage.viewpoint, size, look)
            for look in ("avatar", "surface")
        )
        return avatar, surface

    def reset(self) -> None:
        """All sliders to 0, head at rest; drawn once."""
        self._is_resetting = True
        for slider in self.sliders.values():
            slider.value = 0.0
        self.frame.value = None
        self._is_resetting = False
        self._draw()

    def _draw(self) -> None:
        if not self._is_resetting:
            self._image.value = png_of(side_by_side(self.pictures(), ("avatar", "mesh"), gap=8))
