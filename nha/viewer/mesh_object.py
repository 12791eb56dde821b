"""The textured mesh as a thing in the scene, which the browser draws itself."""

from __future__ import annotations

import time
from collections.abc import Callable

from nha.export.bake import bake_textures
from nha.export.still import StillHead
from nha.export.views import views_of
from nha.viewer.stage import Stage, State
from nha.viewer.tone import GAIN, against_tone_curve

BAKED_FRAMES = 4  # tracked frames that the texture is seen from, besides the round trip about the head
_SHORTEST_INTERVAL_S = 0.2  # a mesh with its texture is a third of a megabyte or more


class MeshObject:
    """The head of a state as GLB bytes, with a texture that is baked once, of the person at rest."""

    def __init__(
        self, stage: Stage, texture_size: int, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._stage, self._texture_size, self._clock = stage, texture_size, clock
        self._still: StillHead | None = None
        self._shown: tuple | None = None
        self._shown_at = 0.0

    @property
    def is_baked(self) -> bool:
        return self._still is not None

    def bake(self) -> None:
        """Make the texture; takes seconds. The second time it is there already."""
        if self._still is None:
            s = self._stage
            features = s.avatar.mouth_features(s.surface(State()))
            views = views_of(s.avatar, s.tracking, BAKED_FRAMES)
            textures = bake_textures(s.avatar, features, views, self._texture_size, s.backend)
            head_map, mouth_map = map(against_tone_curve, textures)
            self._still = StillHead(s.avatar.head, (head_map, mouth_map), GAIN)

    def update(self, state: State) -> bytes | None:
        """The file for this state, or None where the last one shows it, or was made only just now."""
        self.bake()
        now = self._clock()
        if state.key == self._shown or (self._shown and now - self._shown_at < _SHORTEST_INTERVAL_S):
            return None
        self._shown, self._shown_at = state.key, now
        return self._still.glb(self._stage.surface(state).vertices[0])

    def forget(self) -> None:
        """What was shown is gone: the next `update` gives a file again."""
        self._shown = None
