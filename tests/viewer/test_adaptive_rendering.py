"""The resolution of rendered images, in simulated time."""

from __future__ import annotations

import numpy as np
import pytest

from nha.viewer.adaptive_rendering import ClientRenderer, ResolutionRules
from nha.viewer.scene import ControlState, RenderRequest
from nha.viewer.viewpoint import Viewpoint

VIEW = Viewpoint((1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0), 0.4)
ASPECT = 1.5


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class SlowScene:
    """Takes a fixed time for each image and some for each pixel."""

    def __init__(self, clock: Clock, fixed_s: float, per_pixel_s: float) -> None:
        self.clock, self.fixed_s, self.per_pixel_s = clock, fixed_s, per_pixel_s

    def render(self, state, viewpoint, image_size, mode) -> np.ndarray:
        self.clock.now += self.fixed_s + self.per_pixel_s * image_size[0] * image_size[1]
        return np.zeros((*image_size, 3), np.uint8)


def render_moving(renderer: ClientRenderer, clock: Clock, n: int) -> list[tuple[int, float]]:
    """n images of continuous movement: their heights and the seconds that each took."""
    measured = []
    for i in range(n):
        start = clock.now
        image = renderer.step(RenderRequest(ControlState({"jaw_open": float(i)}), VIEW), ASPECT)
        assert not image.is_full or image.rgb.shape[0] == 384
        measured.append((image.rgb.shape[0], clock.now - start))
    return measured


@pytest.mark.parametrize(("fixed_s", "per_pixel_s"), [(0.0, 2e-6), (0.03, 1e-6), (0.06, 5e-7)])
def test_the_time_of_an_image_converges_to_the_target(fixed_s, per_pixel_s):
    clock = Clock()
    renderer = ClientRenderer(SlowScene(clock, fixed_s, per_pixel_s), ResolutionRules(384), clock)
    converged = render_moving(renderer, clock, 20)[-3:]
    assert all(height < 384 for height, _ in converged)
    assert all(seconds == pytest.approx(0.1, rel=0.15) for _, seconds in converged)


def test_a_fast_machine_always_renders_in_full():
    clock = Clock()
    renderer = ClientRenderer(SlowScene(clock, 0.001, 1e-8), ResolutionRules(384), clock)
    assert [height for height, _ in render_moving(renderer, clock, 8)][-1] == 384


def test_a_slow_machine_stays_at_the_minimum_height():
    clock = Clock()
    renderer = ClientRenderer(SlowScene(clock, 0.5, 0.0), ResolutionRules(384, min_height=96), clock)
    heights = [height for height, _ in render_moving(renderer, clock, 8)]
    assert heights[-1] == 96
    assert min(heights) == 96
    small = ClientRenderer(SlowScene(clock, 0.5, 0.0), ResolutionRules(48), clock)
    assert small.step(RenderRequest(ControlState(), VIEW), ASPECT).rgb.shape == (48, 72, 3)


def test_at_rest_one_full_image_is_rendered():
    clock = Clock()
    renderer = ClientRenderer(SlowScene(clock, 0.02, 2e-6), ResolutionRules(384), clock)
    render_moving(renderer, clock, 10)
    last = RenderRequest(ControlState({"jaw_open": 9.0}), VIEW)
    assert renderer.step(last, ASPECT) is None  # rendered already, and not long enough at rest
    clock.now += 0.3
    image = renderer.step(last, ASPECT)
    assert image.is_full
    assert image.rgb.shape == (384, 576, 3)
    clock.now += 10
    assert renderer.step(last, ASPECT) is None
    # its time does not change the resolution of the next images in motion
    before = render_moving(renderer, clock, 1)[0][0]
    assert before > 96


def test_a_new_camera_or_window_size_is_a_change():
    clock = Clock()
    renderer = ClientRenderer(SlowScene(clock, 0.0, 1e-9), ResolutionRules(64), clock)
    request = RenderRequest(ControlState(), VIEW)
    assert renderer.step(request, ASPECT) is not None
    assert renderer.step(request, ASPECT) is None
    assert renderer.step(request, 2.0).rgb.shape[1] == 128
    moved = Viewpoint(VIEW.wxyz, (0.0, 0.0, 0.1), 0.4)
    assert renderer.step(RenderRequest(ControlState(), moved), 2.0) is not None
    assert renderer.step(RenderRequest(ControlState(), VIEW, "surface"), 2.0) is not None


def test_the_frame_rate_is_that_of_the_movement():
    clock = Clock()
    renderer = ClientRenderer(SlowScene(clock, 0.1, 0.0), ResolutionRules(384, min_height=384), clock)
    rates = [
        renderer.step(RenderRequest(ControlState({"jaw_open": float(i)}), VIEW), ASPECT).rate
        for i in range(5)
    ]
    assert rates[0] is None
    assert rates[1:] == pytest.approx([10.0] * 4)
    clock.now += 60
    after_pause = renderer.step(RenderRequest(ControlState(), VIEW), ASPECT)
    assert after_pause.rate is None  # the measurement restarts
