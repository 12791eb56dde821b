"""`nha make` on a tiny synthetic video: all steps, an interrupted run, refusals, estimate, files."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import shutil
from pathlib import Path

import pytest

import nha
from nha.cli.main import main
from nha.core.errors import UserError
from nha.data.dataset_folder import DatasetFolder
from nha.data.video_io import iterate_frames
from nha.pipeline import estimate as estimate_module
from nha.pipeline import make as make_module
from nha.pipeline.estimate import Estimate, estimate, require_room
from nha.pipeline.settings import QUALITIES, MakeSettings, Quality
from nha.synthetic.settings import SyntheticSettings
from nha.synthetic.write_dataset import write_subject
from nha.tracking.settings import BatchedSettings, OutlineSettings
from nha.tracking.tracker import track_dataset

TINY = Quality(frames=10, scale=64, epochs=(1, 1, 1), schedule_frames=0, turntable=4, texture_size=32)
OPTIONS = {"quality": "draft", "estimators": "truth", "head": "procedural", "device": "cpu"}
WORDS = tuple(word for key, value in OPTIONS.items() for word in (f"--{key}", value))


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    """A synthetic video of 20 frames with the truth beside it."""
    folder = tmp_path_factory.mktemp("a synthetic person")
    write_subject(folder, SyntheticSettings(frames=20, size=(64, 64), supersampling=1, progress=False))
    return folder / "video.mp4"


def run(capsys, *words: str | Path) -> tuple[int, str, str]:
    """Exit code and output of `nha make WORDS`."""
    with pytest.raises(SystemExit) as left:
        main(["make", *map(str, words)])
    printed = capsys.readouterr()
    return left.value.code, printed.out, printed.err


class StopError(Exception):
    """Ends a run in the middle, as a kill does."""


@pytest.fixture
def quick(monkeypatch) -> None:
    """A tiny quality, and a tracking with few steps."""
    steps = BatchedSettings(n_keyframes=4, appearance_steps=5, joint_steps=0, refine_steps=5)
    outline = OutlineSettings(outline_rounds=0, outline_frame_rounds=0)
    monkeypatch.setitem(QUALITIES, "draft", TINY)
    monkeypatch.setattr(
        make_module,
        "track_dataset",
        lambda settings: track_dataset(dataclasses.replace(settings, batched=steps, outline=outline)),
    )


@pytest.mark.slow
def test_a_video_becomes_an_avatar_also_after_an_interruption(video, tmp_path, quick, monkeypatch, capsys):
    out = tmp_path / "it's me"

    def stop(settings):
        raise StopError

    with monkeypatch.context() as interrupted:
        interrupted.setattr(make_module, "evaluate_avatar", stop)
        with pytest.raises(StopError):
            nha.make(video, out, **OPTIONS)
    assert set(json.loads((out / "steps.json").read_text())) == {
        "dataset",
        "tracking",
        "avatar",
        "evaluation",
    }
    trained = (out / "avatar" / "avatar.ckpt").stat().st_mtime_ns
    capsys.readouterr()

    code, printed, _ = run(capsys, video, "--out", out, *WORDS)
    assert code == 0
    first, *_, last = printed.splitlines()
    assert (
        first
        == "video.mp4: 20 frames of 64 x 64; one frame in 2 is used (10), at 64 pixels (--quality draft)"
    )
    assert printed.index("time here: about") < printed.index("needs: ") < printed.index("== dataset")
    assert printed.count("done before") == 3
    assert (out / "avatar" / "avatar.ckpt").stat().st_mtime_ns == trained
    assert last.split(maxsplit=1) == ["tracking", str(out / "tracking" / "tracking.mp4")]

    assert DatasetFolder.open(out / "dataset").frame_ids() == list(range(0, 20, 2))
    assert len(list(iterate_frames(out / "evaluation" / "turntable.mp4"))) == 4
    for line in printed.splitlines()[-10:]:
        assert Path(line.split(maxsplit=1)[1]).is_file(), line
    verdict = json.loads((out / "verdict.json").read_text())
    assert verdict["level"] in ("good", "fair", "poor")
    assert [one["name"] for one in verdict["judgements"]][:3] == ["likeness", "sharpness", "detail"]
    text = (out / "verdict.txt").read_text()
    assert verdict["summary"] in text
    assert text in printed
    page = (out / "report.html").read_text()
    assert "Sharp enough?" in page
    assert 'href="export/avatar.html"' in page
    assert 'src="evaluation/turntable.mp4"' in page

    code, printed, _ = run(capsys, video, "--out", out, *WORDS)
    assert (code, printed.count("done before")) == (0, 5)

    for change, message in (
        (("--every", "1"), "other settings (every = 0, now 1)"),
        (("--head", "flame"), "other settings (head = procedural, now flame)"),
    ):
        code, _, error = run(capsys, video, "--out", out, *WORDS, *change)
        assert code == 2
        assert message in error
        assert "--resume false" in error
        assert error.count("\n") == 1
    other = tmp_path / "other.mp4"
    shutil.copy(video, other)
    with open(other, "ab") as file:
        file.write(b"\0" * 8)
    code, _, error = run(capsys, other, "--out", out, *WORDS)
    assert (code, "holds the avatar of another video" in error) == (2, True)
    assert (out / "avatar" / "avatar.ckpt").stat().st_mtime_ns == trained


def test_unusable_input_is_one_line_and_writes_nothing(video, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    code, _, error = run(capsys, tmp_path / "missing.mp4", "--out", out)
    assert (code, error) == (2, f"error: video not found: {tmp_path / 'missing.mp4'}\n")
    code, _, error = run(capsys, video, "--out", out, *WORDS, "--max_frames", 4)
    assert code == 2
    assert "of which 4 would be used; at least 8 are needed" in error
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    code, _, error = run(capsys, video, "--out", out, "--device", "cpu")
    assert code == 2
    assert "need mediapipe, not installed here: `make env` installs mediapipe" in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_a_folder_of_something_else_is_refused(video, tmp_path, capsys):
    (tmp_path / "dataset").mkdir()
    for resume in ("true", "false"):
        code, _, error = run(capsys, video, "--out", tmp_path, *WORDS, "--resume", resume)
        assert code == 2
        assert "already holds files from elsewhere (dataset)" in error


def test_frames_are_spread_over_the_video():
    def stride(n_frames: int, **settings) -> int:
        return MakeSettings(video=Path("talk.mp4"), **settings).stride(n_frames)

    assert stride(200) == 1
    assert stride(201) == 2
    assert stride(750, quality="draft") == 13
    assert stride(750, max_frames=75) == 10
    assert stride(750, every=7) == 7
    assert stride(750, every=7, max_frames=75) == 10
    assert MakeSettings(video=Path("talk.mp4")).folder == Path("experiments/talk")


def test_the_estimate_grows_with_the_work(video, monkeypatch):
    monkeypatch.setattr(estimate_module, "_probe", lambda: estimate_module.PROBE_S)

    def expected(n_frames: int = 60, **settings) -> Estimate:
        return estimate(MakeSettings(video=video, device="cpu", **settings), n_frames, (64, 64))

    draft, standard, best = (expected(quality=quality) for quality in QUALITIES)
    assert draft.total < standard.total < best.total
    assert draft.disk_bytes < standard.disk_bytes < best.disk_bytes
    assert expected(120).seconds["tracking"] > standard.seconds["tracking"]
    assert set(draft.seconds) == {"dataset", "tracking", "training", "evaluation", "export"}
    monkeypatch.setattr(estimate_module, "_probe", lambda: estimate_module.PROBE_S / 2)
    twice = expected()
    assert twice.speed == pytest.approx(2)
    assert twice.total == pytest.approx(standard.total / 2)


def test_what_is_needed_is_said_before_the_start(video, tmp_path, monkeypatch):
    monkeypatch.setattr(estimate_module, "needed_packages", lambda selection: {"mediapipe": True})
    small = estimate(MakeSettings(video=video, device="cpu"), 60, (64, 64))
    assert "mediapipe (installed)" in small.lines()[1]
    tight = Estimate(**{**vars(small), "available_bytes": small.memory_bytes / 2})
    assert tight.lines()[2].startswith("warning: memory may be too little")
    full = Estimate(**{**vars(small), "free_bytes": small.disk_bytes / 2})
    with pytest.raises(UserError, match="are free: make room, choose another --out"):
        require_room(full, tmp_path)
