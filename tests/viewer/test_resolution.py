"""The size of pictures, in simulated time."""

from __future__ import annotations

import numpy as np
import pytest

from nha.viewer.recording import Moment
from nha.viewer.resolution import ResolutionRules
from nha.viewer.screen import Screen
from nha.viewer.stage import State
from nha.viewer.viewpoint import Viewpoint

VIEW = Viewpoint((1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0), 0.4)
ASPECT = 1.5


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class SlowStage:
    """Takes a fixed time for each picture and some for each pixel."""

    def __init__(self, clock: Clock, fixed_s: float, per_pixel_s: float) -> None:
        self.clock, self.fixed_s, self.per_pixel_s = clock, fixed_s, per_pixel_s

    def picture(self, state, viewpoint, image_size, look) -> np.ndarray:
        self.clock.now += self.fixed_s + self.per_pixel_s * image_size[0] * image_size[1]
        return np.zeros((*image_size, 3), np.uint8)


def moving(screen: Screen, clock: Clock, n: int) -> list[tuple[int, float]]:
    """n pictures of something that never rests: their heights and how long each took."""
    seen = []
    for i in range(n):
        start = clock.now
        drawn = screen.step(Moment(State({"jaw_open": float(i)}), VIEW), ASPECT)
        assert not drawn.at_rest or drawn.rgb.shape[0] == 384
        seen.append((drawn.rgb.shape[0], clock.now - start))
    return seen


@pytest.mark.parametrize(("fixed_s", "per_pixel_s"), [(0.0, 2e-6), (0.03, 1e-6), (0.06, 5e-7)])
def test_the_time_of_a_picture_settles_at_the_target(fixed_s, per_pixel_s):
    clock = Clock()
    screen = Screen(SlowStage(clock, fixed_s, per_pixel_s), ResolutionRules(384), clock)
    settled = moving(screen, clock, 20)[-3:]
    assert all(height < 384 for height, _ in settled)
    assert all(seconds == pytest.approx(0.1, rel=0.15) for _, seconds in settled)


def test_a_fast_machine_always_draws_in_full():
    clock = Clock()
    screen = Screen(SlowStage(clock, 0.001, 1e-8), ResolutionRules(384), clock)
    assert [height for height, _ in moving(screen, clock, 8)][-1] == 384


def test_a_machine_that_is_too_slow_stays_at_the_smallest():
    clock = Clock()
    screen = Screen(SlowStage(clock, 0.5, 0.0), ResolutionRules(384, smallest_height=96), clock)
    heights = [height for height, _ in moving(screen, clock, 8)]
    assert heights[-1] == 96
    assert min(heights) == 96
    small = Screen(SlowStage(clock, 0.5, 0.0), ResolutionRules(48), clock)
    assert small.step(Moment(State(), VIEW), ASPECT).rgb.shape == (48, 72, 3)


def test_at_rest_it_is_drawn_in_full_once():
    clock = Clock()
    screen = Screen(SlowStage(clock, 0.02, 2e-6), ResolutionRules(384), clock)
    moving(screen, clock, 10)
    last = Moment(State({"jaw_open": 9.0}), VIEW)
    assert screen.step(last, ASPECT) is None  # that was drawn, and has not rested long enough
    clock.now += 0.3
    drawn = screen.step(last, ASPECT)
    assert drawn.at_rest
    assert drawn.rgb.shape == (384, 576, 3)
    clock.now += 10
    assert screen.step(last, ASPECT) is None
    # and its slowness does not make the next small ones smaller
    before = moving(screen, clock, 1)[0][0]
    assert before > 96


def test_a_new_camera_or_window_is_a_change():
    clock = Clock()
    screen = Screen(SlowStage(clock, 0.0, 1e-9), ResolutionRules(64), clock)
    moment = Moment(State(), VIEW)
    assert screen.step(moment, ASPECT) is not None
    assert screen.step(moment, ASPECT) is None
    assert screen.step(moment, 2.0).rgb.shape[1] == 128
    assert screen.step(Moment(State(), Viewpoint(VIEW.wxyz, (0.0, 0.0, 0.1), 0.4)), 2.0) is not None
    assert screen.step(Moment(State(), VIEW, "surface"), 2.0) is not None


def test_the_rate_is_that_of_the_movement():
    clock = Clock()
    screen = Screen(SlowStage(clock, 0.1, 0.0), ResolutionRules(384, smallest_height=384), clock)
    rates = [screen.step(Moment(State({"jaw_open": float(i)}), VIEW), ASPECT).rate for i in range(5)]
    assert rates[0] is None
    assert rates[1:] == pytest.approx([10.0] * 4)
    clock.now += 60
    assert screen.step(Moment(State(), VIEW), ASPECT).rate is None  # after a pause it counts anew
