"""Rendering for one browser: at a resolution that holds the frame rate while something moves, and in full at rest."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nha.viewer.scene import AvatarScene, RenderRequest

# Largest change of the height after one image: a single slow image should not lower the resolution of the next ten.
_SHRINK, _GROW = 0.6, 1.25
_HEIGHT_STEP_PIXELS = 8  # heights are rounded to it, so that the size does not change with every image
_PAUSE_S = 1.0  # images that are further apart do not belong to one movement
_MEASURED_IMAGES = 12  # the frame rate is measured over this many images


@dataclass(frozen=True)
class ResolutionRules:
    """Limits of the resolution.

    Attributes:
        full_height: of an image at rest, pixels.
        min_height: of an image while something moves, pixels.
        target_s: seconds that an image may take while something moves.
        rest_s: seconds without a change after which the image is rendered in full.
    """

    full_height: int
    min_height: int = 96
    target_s: float = 0.1
    rest_s: float = 0.25

    def next_height(self, height: float, seconds: float) -> float:
        """The height while something moves, after an image of `height` pixels took `seconds`.

        The time of an image grows with its number of pixels, the square of its height; what does not is corrected by
        the next measurement.
        """
        factor = math.sqrt(self.target_s / max(seconds, 1e-6))
        changed = height * min(max(factor, _SHRINK), _GROW)
        return min(max(changed, min(self.min_height, self.full_height)), self.full_height)


class AdaptiveResolution:
    """Chooses the height of the next image. All times are seconds of one monotonic clock."""

    def __init__(self, rules: ResolutionRules) -> None:
        self.rules = rules
        self._moving_height = float(max(rules.full_height / 2, rules.min_height))
        self._rendered_height = 0  # of the last image of the current state, 0 before the first one
        self._changed_at = -math.inf

    def mark_changed(self, now: float) -> None:
        """The state to render has changed."""
        self._rendered_height, self._changed_at = 0, now

    def next_height(self, now: float) -> int | None:
        """Height of the image to render now, None where the last image is up to date."""
        full = self.rules.full_height
        if self._rendered_height >= full:
            return None
        if now - self._changed_at >= self.rules.rest_s:
            return full
        return None if self._rendered_height else self._height_in_motion

    def mark_rendered(self, height: int, seconds: float) -> None:
        """The current state was rendered at `height` pixels within `seconds`."""
        self._rendered_height = height
        if height == self._height_in_motion:  # a full image at rest does not change the height in motion
            self._moving_height = self.rules.next_height(self._moving_height, seconds)

    @property
    def _height_in_motion(self) -> int:
        steps = max(1, round(self._moving_height / _HEIGHT_STEP_PIXELS))
        return min(_HEIGHT_STEP_PIXELS * steps, self.rules.full_height)


@dataclass(frozen=True)
class RenderedImage:
    """An image for a browser.

    Attributes:
        rgb: uint8 [H, W, 3].
        is_full: whether it has the full height.
        rate: images per second of the current movement; None for its first image.
    """

    rgb: np.ndarray
    is_full: bool
    rate: float | None


class ClientRenderer:
    """Renders for one browser what has changed there."""

    def __init__(
        self, scene: AvatarScene, rules: ResolutionRules, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        """clock: seconds, monotonic."""
        self._scene, self._clock = scene, clock
        self._resolution = AdaptiveResolution(rules)
        self._last: tuple[RenderRequest, float] | None = None
        self._finished: deque[float] = deque(maxlen=_MEASURED_IMAGES)

    def step(self, request: RenderRequest, aspect: float) -> RenderedImage | None:
        """The image to show now, None where the last one is up to date; aspect: width over height of the window."""
        now = self._clock()
        if (request, aspect) != self._last:
            self._last = request, aspect
            self._resolution.mark_changed(now)
        height = self._resolution.next_height(now)
        if height is None:
            return None
        size = height, max(1, round(height * aspect))
        rgb = self._scene.render(request.state, request.viewpoint, size, request.mode)
        end = self._clock()
        self._resolution.mark_rendered(height, end - now)
        return RenderedImage(rgb, height >= self._resolution.rules.full_height, self._frame_rate(end))

    def _frame_rate(self, end: float) -> float | None:
        if self._finished and end - self._finished[-1] > _PAUSE_S:
            self._finished.clear()
        self._finished.append(end)
        span = self._finished[-1] - self._finished[0]
        return (len(self._finished) - 1) / span if span > 0 else None
