"""The textured mesh as an object in the browser's 3D scene."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from nha.export.glb_mesh import StaticHead
from nha.export.model_textures import model_textures
from nha.export.views import baking_views
from nha.viewer.scene import AvatarScene, ControlState
from nha.viewer.tone_curve import GAIN, inverse_tone_curve

BAKED_FRAMES = 4  # tracked frames from which the texture is baked, besides an orbit around the head
_MIN_INTERVAL_S = 0.2  # between two meshes: with its texture a mesh has a third of a megabyte or more


class SceneMesh:
    """GLB files of the posed head, with a texture that is baked once from the neutral pose."""

    def __init__(
        self, scene: AvatarScene, texture_size: int, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        """texture_size: side of the head's map in texels; clock: seconds, monotonic."""
        self._scene, self._texture_size, self._clock = scene, texture_size, clock
        self._baked: list[StaticHead] = []  # at most one; shared by the meshes of all browsers
        self._sent: tuple | None = None
        self._sent_at = 0.0

    def for_another_browser(self) -> SceneMesh:
        """A mesh with the same texture, which is baked once for all."""
        other = SceneMesh(self._scene, self._texture_size, self._clock)
        other._baked = self._baked
        return other

    @property
    def is_baked(self) -> bool:
        return bool(self._baked)

    def bake(self) -> None:
        """Bake the texture unless it is baked already; takes seconds."""
        if not self._baked:
            s = self._scene
            views = baking_views(s.avatar, s.tracking, BAKED_FRAMES)
            neutral = s.surface(ControlState())
            head_map, mouth_map = model_textures(s.avatar, neutral, None, views, self._texture_size)
            textures = inverse_tone_curve(head_map), inverse_tone_curve(mouth_map)
            self._baked.append(StaticHead(s.avatar.head, textures, GAIN))

    def update(self, state: ControlState, opacity: float = 1.0) -> bytes | None:
        """The GLB file of a state; None where the last file shows it, or was made less than 0.2 s ago."""
        self.bake()
        if not self._is_due((state.key, opacity)):
            return None
        return self._baked[0].glb(self._scene.surface(state).vertices[0], opacity)

    def vertices(self, state: ControlState, opacity: float = 1.0) -> np.ndarray | None:
        """The vertices [V, 3] in metres of a state, for a wireframe; None as `update`."""
        if not self._is_due((state.key, opacity, "wireframe")):
            return None
        return self._scene.surface(state).vertices[0].cpu().numpy()

    def _is_due(self, key: tuple) -> bool:
        now = self._clock()
        if key == self._sent or (self._sent and now - self._sent_at < _MIN_INTERVAL_S):
            return False
        self._sent, self._sent_at = key, now
        return True

    def invalidate(self) -> None:
        """The browser no longer shows the last file: the next `update` returns one."""
        self._sent = None
