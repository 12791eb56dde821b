"""Progress: one line with the time left on a terminal, lines at intervals in a log."""

from __future__ import annotations

import io
import re
import threading
import time

import pytest

from nha.core.progress import ProgressLine, duration, progress


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def wait_for(condition, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not become true"
        time.sleep(0.005)


def test_a_log_gets_lines_also_while_one_part_takes_longer_than_the_period():
    log = io.StringIO()
    with ProgressLine("tracking", 8, "frames", stream=log, period_s=0.02) as line:
        wait_for(lambda: log.getvalue().count("tracking: 0 of 8 frames, 0 s so far\n") >= 2)
        line.update(2, note="keyframes")
        wait_for(lambda: "tracking: 2 of 8 frames (25 %), 0 s left [keyframes]\n" in log.getvalue())
    assert "\r" not in log.getvalue()
    assert log.getvalue().splitlines()[-1] == "tracking: 2 of 8 frames in 0 s"


def test_the_time_left_follows_from_the_time_spent(monkeypatch):
    line = ProgressLine("training", 40, shown=False)
    monkeypatch.setattr(time, "monotonic", lambda: line._start + 30)
    line.update(10)
    assert line.text() == "training: 10 of 40 steps (25 %), 1 min 30 s left"


def test_a_terminal_has_one_line_with_the_time_left():
    terminal = Terminal()
    before = threading.active_count()
    with ProgressLine("rendering", 3, "frames", stream=terminal) as line:
        for _ in range(3):
            time.sleep(0.12)  # tqdm draws ten times a second
            line.update()
    shown = terminal.getvalue()
    assert shown.count("\n") == 1
    assert re.search(r"rendering:  67%.*2/3 \[00:00<00:00", shown)
    assert threading.active_count() <= before + 1  # tqdm's own


def test_items_are_counted_and_an_error_ends_the_lines(capsys):
    assert list(progress("abc", "reading", unit="letters")) == ["a", "b", "c"]
    assert capsys.readouterr().err == "reading: 3 of 3 letters in 0 s\n"
    before = threading.active_count()

    def fail() -> None:
        for _ in progress(iter("abc"), "reading", unit="letters"):
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fail()
    assert capsys.readouterr().err == "reading: 0 letters in 0 s\n"
    assert threading.active_count() == before


def test_what_is_not_shown_and_what_is_not_counted(capsys):
    assert list(progress([1, 2], "hidden", shown=False)) == [1, 2]
    assert capsys.readouterr().err == ""
    with ProgressLine("landmarks", unit=""):
        pass
    assert capsys.readouterr().err == "landmarks in 0 s\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (61, "1 min 1 s"), (605, "10 min"), (3600, "1 h"), (4000, "1 h 6 min")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text
