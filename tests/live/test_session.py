"""Sources, timing, and the session that follows a face beside a renderer."""

from __future__ import annotations

import gc
import re
import runpy
import time
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from nha.core.errors import UserError
from nha.data.video_io import VideoWriter
from nha.live.driver import LiveDriver, describe
from nha.live.session import LiveSession, scaled_camera
from nha.live.settings import LiveSettings
from nha.live.sources import ImageSource, _played, open_source
from nha.live.timing import LiveTiming
from nha.render.camera import project
from tests.live.conftest import SIZE


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """Eight images, each brighter than the one before, at 20 frames a second."""
    path = tmp_path_factory.mktemp("video") / "talk.mp4"
    with VideoWriter(path, 20) as writer:
        for i in range(8):
            writer.write(np.full((64, 64, 3), 30 * i, np.uint8))
    return path


class Clock:
    """A clock that only sleeping advances."""

    now = 50.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_a_video_is_played_at_its_speed_and_again(video):
    clock = Clock()
    played = _played(video, 20.0, True, clock, clock.sleep)
    times, shown = [], []
    for _ in range(20):
        due, rgb = next(played)
        times.append(due - 50.0)
        shown.append(clock.now - 50.0)
    assert times == pytest.approx([i / 20 for i in range(20)])
    assert shown == pytest.approx(times)
    assert abs(int(rgb.mean()) - 30 * 3) < 6  # the fourth image of the third round


def test_a_slow_reader_gets_the_latest_image(video):
    source = open_source(str(video))
    first = source.latest(0, 5.0)
    assert first.number >= 1
    time.sleep(0.2)  # four images
    later = source.latest(first.number, 5.0)
    assert later.number > first.number + 1
    while not source.has_ended:
        time.sleep(0.01)
    assert source.latest(8, 0.0) is None
    assert source.n_read == 8
    source.close()


def test_missing_cameras_and_files_are_one_line(tmp_path):
    for text in ("63", "9999"):
        with pytest.raises(UserError, match=f"--live {text}: there is no camera {text}") as error:
            open_source(text)
        assert "\n" not in str(error.value)
    with pytest.raises(UserError, match=r"nowhere\.mp4"):
        open_source(str(tmp_path / "nowhere.mp4"))


def test_the_session_renders_what_was_followed(avatar, poses, actor):
    def images():
        for i in range(10):
            time.sleep(0.02)
            yield time.perf_counter(), np.full((*SIZE, 3), i, np.uint8)

    driver = LiveDriver(avatar, poses.neutral, poses.camera, LiveSettings(live_calibration=0.0), actor)
    with LiveSession(avatar, poses.camera, driver, ImageSource("images", images())) as live:
        rendered = list(live.images((32, 48)))
        assert live.has_ended
    assert 1 <= len(rendered) <= 10
    last = rendered[-1]
    assert last.rgb.shape == (32, 48, 3)
    assert (last.rgb < 250).any(-1).mean() > 0.05
    assert last.pose.status == "following"
    assert last.pose.seconds.keys() == {"landmarks", "fit", "retarget"}
    numbers = [image.pose.number for image in rendered]
    assert numbers == sorted(set(numbers))
    assert all(image.latency_s > 0 for image in rendered)


def test_what_goes_wrong_in_the_thread_is_raised_where_the_pose_is_asked_for(avatar, poses, actor):
    def images():
        yield time.perf_counter(), np.zeros((*SIZE, 3), np.uint8)
        raise UserError("the camera gives no more images")

    driver = LiveDriver(avatar, poses.neutral, poses.camera, detector=actor)
    with (
        LiveSession(avatar, poses.camera, driver, ImageSource("camera", images())) as live,
        pytest.raises(UserError, match="no more images"),
    ):
        list(live.images((16, 16)))


def test_a_scaled_camera_keeps_height_and_middle(poses):
    camera = poses.camera
    height, width = camera.image_size
    point = torch.tensor([[[0.02, 0.03, float(poses.neutral.translation[0, 2])]]])
    before = project(point, camera)[0, 0]
    after = project(point, scaled_camera(camera, (2 * height, width)))[0, 0]
    assert float(after[1]) == pytest.approx(2 * float(before[1]), abs=1e-3)
    assert float(after[0]) - width / 2 == pytest.approx(2 * (float(before[0]) - width / 2), abs=1e-3)


def test_rate_and_latency_are_those_of_the_last_seconds():
    timing = LiveTiming()
    assert timing.texts() == ("", "")
    for i in range(40):  # slow at first
        timing.add(i * 0.5, i * 0.5 + 0.3)
    for i in range(90):
        timing.add(20 + i * 0.04, 20 + i * 0.04 + (0.05 if i % 10 else 0.09))
    assert timing.rate == pytest.approx(25, rel=0.02)
    assert timing.latency_s(50) == pytest.approx(0.05)
    assert timing.latency_s(95) == pytest.approx(0.09)
    assert timing.texts() == ("25 fps", "50 ms (95 %: 90 ms)")


def test_nothing_followed_yet_is_said():
    assert describe(None) == "waiting for the first image"


def test_the_benchmark_measures_each_part(avatar, poses, actor, repository, capsys):
    bench = SimpleNamespace(
        **runpy.run_path(str(repository / "benchmarks" / "live_bench.py"), run_name="bench")
    )

    def images():
        while True:
            time.sleep(0.01)
            yield time.perf_counter(), np.zeros((*SIZE, 3), np.uint8)

    driver = LiveDriver(avatar, poses.neutral, poses.camera, LiveSettings(live_calibration=0.0), actor)
    with LiveSession(avatar, poses.camera, driver, ImageSource("images", images())) as live:
        bench.report(bench.measure(live, 32, 0.5), 32)
    printed = capsys.readouterr().out
    for part in ("landmarks", "fit", "retarget", "wait and render", "encode", "latency"):
        assert re.search(rf"^{part} +\d+\.\d ms   95 %: +\d+\.\d ms$", printed, re.MULTILINE)
    assert re.search(r"\d+\.\d fps shown", printed)
    assert re.search(r"\d+ images of the source, \d+ followed, \d+ dropped", printed)


def test_what_a_round_of_a_repeated_video_leaves_in_cycles_is_freed(monkeypatch):
    opened = []

    class Container:
        def __init__(self) -> None:
            self.itself = self
            opened.append(weakref.ref(self))

    def frames(path, quiet):
        container = Container()
        yield np.zeros((2, 2, 3), np.uint8)
        del container

    monkeypatch.setattr("nha.live.sources.iterate_frames", frames)
    images = _played("video", 1e6, True, sleep=lambda seconds: None)
    gc.disable()  # what is collected by chance does not count
    try:
        for _ in range(4):
            next(images)
        assert sum(container() is not None for container in opened) == 1
    finally:
        gc.enable()
