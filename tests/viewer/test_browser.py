"""The viewer from end to end: the script in one process, a headless Chromium in another."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from nha.data.dataset_folder import read_rgb
from nha.data.video_io import iterate_frames
from nha.viewer.server import import_viser

viser = pytest.importorskip("viser", reason="viser is not installed ([viewer] in pyproject.toml)")

from tests.viewer.browser import Browser, find_chromium  # noqa: E402 - needs websockets, a dependency of viser

pytestmark = pytest.mark.slow

IMAGE = (slice(80, 560), slice(20, 440))  # rows and columns of a screenshot without panel and notifications
FIND = "[...document.querySelectorAll('label')].find(e => e.textContent.trim() == '{label}')"
RIGHT_OF = FIND + ".parentElement.parentElement.parentElement"


class Session:
    """A running script and its address."""

    def __init__(self, repository: Path, *arguments: str | Path) -> None:
        script = repository / "python_scripts" / "view_avatar.py"
        self.process = subprocess.Popen(
            [sys.executable, str(script), *map(str, arguments)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=repository,
        )  # fmt: skip
        self.lines: list[str] = []
        self.url = self._find(r"open (http://\S+) in a browser")

    def _find(self, pattern: str) -> str:
        for line in self.process.stdout:
            self.lines.append(line)
            if found := re.search(pattern, line):
                return found[1]
        raise AssertionError("".join(self.lines))

    def written(self) -> Path:
        """The next file that the script reports as saved."""
        return Path(self._find(r"saved (.*\.(?:png|mp4))$"))

    def end(self) -> int:
        """Terminate it and return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.lines += self.process.communicate(timeout=30)[0].splitlines(keepends=True)
        return self.process.returncode


@pytest.fixture(scope="module")
def chromium() -> str:
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium is installed")
    return program


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("saved files")


@pytest.fixture(scope="module")
def session(repository, files, out) -> Iterator[Session]:
    running = Session(
        repository, "--ckpt", files.ckpt, "--tracking", files.tracking, "--out", out, "--height", 96,
        "--min_height", 48, "--film_height", 64, "--texture_size", 32, "--device", "cpu", "--port", 8570,
    )  # fmt: skip
    yield running
    assert running.end() == 128 + signal.SIGTERM, "".join(running.lines)
    assert "Traceback" not in "".join(running.lines)


@pytest.fixture(scope="module")
def browser(chromium, session, tmp_path_factory) -> Iterator[Browser]:
    with Browser(chromium, tmp_path_factory.mktemp("profile")) as page:
        page.open(session.url)
        page.wait_for(FIND.format(label="tilt"))
        page.wait_for(f"/^\\d+ x 96/.test({value_of('rendered')})")  # the first image in full resolution
        yield page
        assert page.errors == []


def value_of(label: str) -> str:
    return f"({RIGHT_OF.format(label=label)}.querySelector('input').value)"


def press_button(page: Browser, text: str) -> None:
    page.evaluate(f"[...document.querySelectorAll('button')].find(e => e.innerText == '{text}').click()")


def stable_image(page: Browser) -> np.ndarray:
    """The image once it no longer changes."""
    before, same = page.screenshot(), 0
    until = time.monotonic() + 30
    while same < 3:
        assert time.monotonic() < until, "the image keeps changing"
        time.sleep(0.3)
        now = page.screenshot()
        same = same + 1 if np.array_equal(now[IMAGE], before[IMAGE]) else 0
        before = now
    return before[IMAGE]


def drag_slider(page: Browser, label: str, share: float) -> None:
    """Drag a slider's thumb to a share of its range."""
    slider = f"{RIGHT_OF.format(label=label)}.querySelector('[role=slider]')"
    page.evaluate(f"{slider}.scrollIntoView({{block: 'center'}})")
    at = page.evaluate(
        f"(({{left, top, width, height}}) => [left + width / 2, top + height / 2])({slider}.getBoundingClientRect())"
    )
    track = page.evaluate(
        f"(({{left, width}}) => [left, width])({slider}.parentElement.getBoundingClientRect())"
    )
    page.drag(at, (track[0] + share * track[1], at[1]))


def coloured(image: np.ndarray) -> np.ndarray:
    """The pixels that are not white: bool [H, W]."""
    return (image < 245).any(-1)


def test_the_page_shows_the_avatar(browser, session):
    image = stable_image(browser)
    assert 0.1 < coloured(image).mean() < 0.9
    assert session.url.startswith("http://127.0.0.1:")


def test_a_slider_changes_the_image_and_reset_restores_it(browser):
    before = stable_image(browser)
    drag_slider(browser, "open", 0.9)
    assert float(browser.evaluate(value_of("open"))) > 20
    moved = stable_image(browser)
    changed = np.abs(moved.astype(int) - before).max(-1) > 20
    assert changed.mean() > 0.002
    rows = changed.nonzero()[0]
    head_rows = coloured(before).nonzero()[0]
    assert rows.mean() > head_rows.mean()  # the chin, not the hair
    press_button(browser, "reset pose")
    browser.wait_for(f"{value_of('open')} == '0'")
    assert np.abs(stable_image(browser).astype(int) - before).mean() < 0.5


def test_the_camera_moves_freely_and_is_reset(browser):
    before = stable_image(browser)
    browser.drag((250, 300), (370, 300))
    assert (np.abs(stable_image(browser).astype(int) - before).max(-1) > 20).mean() > 0.02
    press_button(browser, "reset camera")
    time.sleep(1.5)  # the browser animates the camera
    assert (np.abs(stable_image(browser).astype(int) - before).max(-1) > 20).mean() < 0.01


def test_tracked_frames_are_played_and_selected(browser):
    before = stable_image(browser)
    box = f"{FIND.format(label='play')}"
    browser.evaluate(f"document.getElementById({box}.htmlFor).click()")
    browser.wait_for(f"{value_of('frame')} != '0'")
    assert browser.evaluate(value_of("pose")) == "tracked frame"
    browser.evaluate(f"document.getElementById({box}.htmlFor).click()")
    drag_slider(browser, "frame", 1.0)
    browser.wait_for(f"{value_of('frame')} == '3'")  # the last of four
    scrubbed = stable_image(browser)
    assert (scrubbed != before).any()
    press_button(browser, "reset pose")
    assert np.abs(stable_image(browser).astype(int) - before).mean() < 0.5


def test_the_mesh_is_where_the_avatar_is(browser):
    neural = stable_image(browser)
    avatar = coloured(neural)
    choose(browser, "image", "none")  # first, so that nothing is side by side
    browser.evaluate(f"document.getElementById({FIND.format(label='3D mesh')}.htmlFor).click()")
    deadline = time.monotonic() + 60
    while not coloured(mesh := stable_image(browser)).mean() > 0.05:
        assert time.monotonic() < deadline, "no mesh appeared"
    overlap = (coloured(mesh) & avatar).sum() / (coloured(mesh) | avatar).sum()
    assert overlap > 0.93  # the browser's camera is ours: the same outline, 96 against 600 lines
    both = coloured(mesh) & avatar
    difference = np.abs(mesh[both].astype(int) - neural[both]).mean()
    # of 256; with the page's tone curve left alone it is 13
    assert difference < 6
    browser.evaluate(f"document.getElementById({FIND.format(label='3D mesh')}.htmlFor).click()")
    choose(browser, "image", "avatar")
    assert coloured(stable_image(browser)).mean() > 0.05


def choose(page: Browser, label: str, option: str) -> None:
    """Select an option of a menu."""
    page.evaluate(f"{RIGHT_OF.format(label=label)}.querySelector('input').click()")
    entry = f"[...document.querySelectorAll('[role=option]')].find(e => e.innerText == '{option}')"
    page.wait_for(entry)
    page.evaluate(f"{entry}.click()")


def test_images_and_videos_are_saved_and_offered(browser, session, out):
    press_button(browser, "save image")
    image = read_rgb(session.written())
    assert image.shape[0] == 96
    assert coloured(image).mean() > 0.05
    press_button(browser, "record")
    browser.wait_for("[...document.querySelectorAll('button')].some(e => e.innerText == 'stop recording')")
    drag_slider(browser, "open", 0.8)
    time.sleep(0.5)
    press_button(browser, "stop recording")
    frames = list(iterate_frames(session.written()))
    assert len(frames) > 5
    assert frames[0].shape[0] == 64
    assert np.abs(frames[0].astype(int) - frames[-1]).max() > 30  # the mouth opened
    browser.wait_for("document.body.innerText.includes('video_001.mp4')")
    assert sorted(path.name for path in out.iterdir()) == ["image_001.png", "video_001.mp4"]
    press_button(browser, "reset pose")


def test_nothing_is_fetched_from_other_servers(browser, session):
    """Runs last: every request of the page until then went to the viewer."""
    address = urlsplit(session.url).netloc
    foreign = [
        url for url in browser.requests
        if not re.match(rf"data:|blob:http://{address}/|http://{address}/|ws://{address}/", url)
    ]  # fmt: skip
    assert foreign == []
    assert any(url.startswith("http://") for url in browser.requests)


def test_the_next_free_port_is_used(repository, files, session):
    port = urlsplit(session.url).port
    second = Session(repository, "--ckpt", files.ckpt, "--port", port, "--device", "cpu")
    assert urlsplit(second.url).port > port
    assert second.end() == 128 + signal.SIGTERM


def test_without_viser_the_error_names_the_installation(monkeypatch):
    monkeypatch.setitem(sys.modules, "viser", None)
    with pytest.raises(Exception, match=r"install it with: python -m pip install -e '.\[viewer\]'") as error:
        import_viser()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--ckpt", "nowhere.ckpt"), "nowhere.ckpt"),
        (("--ckpt", "CKPT", "--host", "192.0.2.1"), "cannot listen on 192.0.2.1"),
        (("--ckpt", "CKPT", "--port", "70000"), "--port must be at most 65535"),
        (("--ckpt", "CKPT", "--tracking", "nowhere"), "no tracking file at 'nowhere'"),
    ],
)
def test_user_errors_are_one_line(arguments, message, files, run_script):
    done = run_script("view_avatar.py", *(files.ckpt if word == "CKPT" else word for word in arguments))
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
