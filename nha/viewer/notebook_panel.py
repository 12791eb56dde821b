"""The sliders in a notebook: the avatar and its shaded mesh side by side, rendered when a slider is released."""

from __future__ import annotations

import ipywidgets as widgets
import numpy as np

from nha.export.glb_file import encode_png
from nha.viewer.controls import GROUPS
from nha.viewer.scene import AvatarScene, ControlState
from nha.visualization.layout import side_by_side


class NotebookPanel:
    """Sliders and images of an avatar.

    Attributes:
        box: the widget that a notebook displays.
        sliders: by name.
        frame: the menu of base poses.
    """

    def __init__(self, scene: AvatarScene, height: int = 256) -> None:
        """height: of each of the two square images, pixels; they are rendered from the scene's viewpoint."""
        self._scene, self._height = scene, height
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
            for s in scene.sliders
        }
        self.frame = widgets.Dropdown(
            options=[("neutral", None), *((f"frame {i}", i) for i in scene.poses.frame_ids)],
            description="pose",
        )
        self._reset = widgets.Button(description="reset")
        self._image = widgets.Image(format="png", layout={"flex": "0 0 auto", "align_self": "flex-start"})
        columns = [
            widgets.VBox(
                [
                    widgets.Label(group),
                    *(self.sliders[s.name] for s in scene.sliders if s.group == group),
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
            control.observe(lambda change: self._update(), names="value")
        self._reset.on_click(lambda button: self.reset())
        self._is_resetting = False
        self._update()

    @property
    def state(self) -> ControlState:
        """The values of the sliders, and the base pose."""
        values = {name: slider.value for name, slider in self.sliders.items()}
        return ControlState(values, self.frame.value)

    def images(self) -> tuple[np.ndarray, np.ndarray]:
        """The avatar and its shaded mesh with the sliders' values, uint8 [H, H, 3] each."""
        size = self._height, self._height
        avatar, surface = (
            self._scene.render(self.state, self._scene.viewpoint, size, mode)
            for mode in ("avatar", "surface")
        )
        return avatar, surface

    def reset(self) -> None:
        """All sliders to 0, neutral pose; rendered once."""
        self._is_resetting = True
        for slider in self.sliders.values():
            slider.value = 0.0
        self.frame.value = None
        self._is_resetting = False
        self._update()

    def _update(self) -> None:
        if not self._is_resetting:
            self._image.value = encode_png(side_by_side(self.images(), ("avatar", "mesh"), gap=8))
