"""The state of a run: nothing is lost, a damaged or foreign state is recognised, changed inputs are noticed."""

import dataclasses
import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from nha.core import system
from nha.core.errors import UserError
from nha.core.manifest import MANIFEST_FILE
from nha.data.tracking_file import read_tracking, write_tracking
from nha.losses.table import LossTable
from nha.optimization import loss_watch
from nha.optimization.avatar_module import AvatarModule
from nha.optimization.loss_watch import LossWatch
from nha.optimization.resume import RUN_FILE
from nha.optimization.run import optimize_avatar
from nha.optimization.training_state import PREVIOUS_FILE, TRAINING_FILE, StateFiles
from nha.optimization.training_step import StepValues
from tests.optimization.conftest import as_options, with_data
from tests.optimization.test_run import states_equal


class KilledError(BaseException):
    pass


def cut(settings, monkeypatch, step: int) -> Path:
    """A run that is stopped in a step; returns its folder."""
    render, steps = AvatarModule.render, []

    def render_until(self, batch):
        steps.append(0)
        if len(steps) == step:
            raise KilledError
        return render(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(AvatarModule, "render", render_until)
        with pytest.raises(KilledError):
            optimize_avatar(settings)
    return settings.run.default_root_dir


def truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


def empty(content: bytes) -> bytes:
    return b""


def flipped(content: bytes) -> bytes:
    changed = bytearray(content)
    changed[len(changed) // 2] ^= 4  # in the data of a tensor
    return bytes(changed)


@pytest.mark.parametrize("damage", [truncated, empty, flipped])
def test_of_a_damaged_state_the_one_before_is_used(make_settings, monkeypatch, caplog, damage):
    whole = optimize_avatar(make_settings((3, 0, 0), "whole", checkpoint_period=1))
    settings = make_settings((3, 0, 0), "cut", checkpoint_period=1)
    output = cut(settings, monkeypatch, 5)  # two frame batches an epoch: in the third epoch
    last = output / TRAINING_FILE
    last.write_bytes(damage(last.read_bytes()))
    resumed = optimize_avatar(settings)
    assert f"{TRAINING_FILE} is" in caplog.text
    assert "after epoch 1" in caplog.text
    assert (output / f"{TRAINING_FILE}.unused").is_file()
    assert states_equal(whole.avatar_path, resumed.avatar_path)


def test_without_any_whole_state_the_run_starts_again(make_settings, monkeypatch, caplog):
    settings = make_settings((2, 0, 0), checkpoint_period=1)
    output = cut(settings, monkeypatch, 4)
    (output / TRAINING_FILE).write_bytes(b"nothing")
    (output / PREVIOUS_FILE).write_bytes(b"nothing")
    assert optimize_avatar(settings).avatar_path.is_file()
    assert "continuing" not in caplog.text


def test_a_foreign_state_never_counts_as_this_run(make_settings, monkeypatch, caplog):
    other = make_settings((2, 0, 0), "other", checkpoint_period=1, seed=5)
    foreign = (optimize_avatar(other).output / TRAINING_FILE).read_bytes()
    settings = make_settings((1, 0, 0), "run")
    settings.run.default_root_dir.mkdir()
    (settings.run.default_root_dir / TRAINING_FILE).write_bytes(foreign)
    with pytest.raises(UserError, match="already holds files from elsewhere"):
        optimize_avatar(settings)
    assert [path.name for path in settings.run.default_root_dir.iterdir()] == [TRAINING_FILE]
    (settings.run.default_root_dir / MANIFEST_FILE).touch()  # a run was started here
    first = optimize_avatar(settings)
    assert "is the state of another run" in caplog.text
    assert states_equal(first.avatar_path, optimize_avatar(make_settings((1, 0, 0), "alone")).avatar_path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"fingerprint": 3}', b"\xff", b"[" * 100_000])
def test_a_damaged_record_is_set_aside_and_the_state_is_used(make_settings, monkeypatch, caplog, content):
    settings = make_settings((2, 0, 0), checkpoint_period=1)
    output = cut(settings, monkeypatch, 3)
    (output / RUN_FILE).write_bytes(content)
    cut(
        settings, monkeypatch, 1
    )  # the identity in the state suffices to continue; only the start is looked at
    assert f"{RUN_FILE} is damaged" in caplog.text
    assert "after epoch 1" in caplog.text


def test_an_avatar_from_elsewhere_is_not_replaced(make_settings):
    settings = make_settings((1, 0, 0))
    settings.run.default_root_dir.mkdir()
    avatar = settings.run.default_root_dir / "avatar.ckpt"
    avatar.write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match="already holds files from elsewhere"):
        optimize_avatar(settings)
    (avatar.parent / MANIFEST_FILE).touch()  # a run was started here
    with pytest.raises(UserError, match="not from a run in this folder"):
        optimize_avatar(settings)
    assert avatar.read_text(encoding="utf-8") == "mine"


def test_a_full_disk_keeps_the_state(make_settings, monkeypatch):
    settings = make_settings((2, 0, 0), checkpoint_period=1)
    output = cut(settings, monkeypatch, 4)
    before = (output / TRAINING_FILE).read_bytes()
    write = Path.write_bytes

    def full(path, content):
        if path.name.startswith(".last."):
            write(path, bytes(content)[:1000])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match="No space") as caught:
            optimize_avatar(settings)
    assert "no room left" in system.system_refusal(caught.value)
    assert (output / TRAINING_FILE).read_bytes() == before
    assert not list(output.glob(".*.part*"))
    assert optimize_avatar(settings).avatar_path.is_file()


def test_changed_inputs_are_noticed(make_settings, tmp_path):
    settings = make_settings((1, 0, 0))
    tracking = read_tracking(settings.data.tracking_results_path)
    write_tracking(tmp_path / "tracked_flame_params.npz", tracking)
    settings = with_data(settings, tracking_results_path=tmp_path)
    optimize_avatar(settings)
    other = dataclasses.replace(tracking, expr=tracking.expr + np.float32(0.01))
    write_tracking(tmp_path / "tracked_flame_params.npz", other)
    with pytest.raises(UserError, match="other inputs.*the tracking file changed since.*--resume false"):
        optimize_avatar(settings)
    again = dataclasses.replace(settings, run=dataclasses.replace(settings.run, resume=False))
    assert optimize_avatar(again).avatar_path.is_file()


def test_a_diverging_run_stops_with_the_last_finite_state(make_settings):
    settings = make_settings((4, 0, 0), checkpoint_period=1)
    schedule = dataclasses.replace(settings.schedule, flame_lr=(1e9, 0, 0))
    with pytest.raises(UserError, match="not finite.*Lower the learning rates"):
        optimize_avatar(dataclasses.replace(settings, schedule=schedule))
    output = settings.run.default_root_dir
    assert not (output / "avatar.ckpt").exists()
    for path in output.glob("*.ckpt"):
        state = torch.load(path, weights_only=True)["state_dict"]
        assert all(x.isfinite().all() for name, x in state.items() if "condition_ranges" not in name)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_the_first_loss_that_is_not_finite_is_named(device, monkeypatch):
    """On a CPU at once; elsewhere (here: a device that is called otherwise) the flags are read later."""
    watch = LossWatch()
    if device != "cpu":
        monkeypatch.setattr(loss_watch, "n_processes", lambda: 2)
        monkeypatch.setattr(loss_watch, "mean_over_processes", lambda flag: flag)
    good, bad = (LossTable({"rgb": torch.tensor(x), "lmk": torch.tensor(1.0)}) for x in (1.0, torch.nan))
    weights = {"rgb": 1.0, "lmk": 1.0}

    def observe(table: LossTable) -> None:
        watch.observe(StepValues.of(table, weights, table.weighted_sum(weights)), 3)

    observe(good)
    if device != "cpu":
        observe(bad)
        bad = good
    with pytest.raises(UserError, match=r"the loss rgb is not finite in epoch 3.*--w_rgb"):
        _ = observe(bad), watch.report(3)


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    files = StateFiles()
    files.save_checkpoint({"state_dict": {"avatar.x": torch.ones(3)}}, tmp_path / TRAINING_FILE)
    before = (tmp_path / TRAINING_FILE).read_bytes()
    for value in (torch.nan, torch.inf):
        with pytest.raises(UserError, match=r"the weights are not finite.*\(x\)"):
            files.save_checkpoint({"state_dict": {"avatar.x": torch.tensor(value)}}, tmp_path / TRAINING_FILE)
    assert (tmp_path / TRAINING_FILE).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [TRAINING_FILE]


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.robustness)],
)
def test_a_signal_ends_with_its_code_one_line_and_a_saved_state(
    make_settings, tmp_path, repository, number, code
):
    settings = make_settings((500, 0, 0), checkpoint_period=1)
    command = [sys.executable, repository / "python_scripts" / "optimize_nha.py", *as_options(settings)]
    process = subprocess.Popen(
        [*map(str, command), "--checkpoint_period=1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=repository,
    )
    state = settings.run.default_root_dir / PREVIOUS_FILE
    until = time.monotonic() + 120
    while not state.exists() and time.monotonic() < until and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    last = errors.strip().splitlines()[-1].split("\r")[-1]
    assert last.endswith("is kept, and the same command continues from it"), errors
    assert "Traceback" not in errors
    # the signal may arrive between the renaming of the last state and that of the new one
    last_state = settings.run.default_root_dir / TRAINING_FILE
    assert torch.load(last_state if last_state.exists() else state, weights_only=True)


def test_heads_outside_of_the_image_are_skipped_and_named(make_settings, tmp_path, caplog):
    settings = make_settings((0, 1, 1), checkpoint_period=1)
    tracking = read_tracking(settings.data.tracking_results_path)
    translation = tracking.translation.copy()
    translation[:, 0] += 50  # metres
    write_tracking(
        tmp_path / "tracked_flame_params.npz", dataclasses.replace(tracking, translation=translation)
    )
    result = optimize_avatar(with_data(settings, tracking_results_path=tmp_path))
    assert result.avatar_path.is_file()
    assert "texture stage: batches without a visible head were skipped (frames 0, 1, 2)" in caplog.text


def test_two_runs_in_one_folder_exclude_each_other(make_settings):
    settings = make_settings((1, 0, 0))
    settings.run.default_root_dir.mkdir()
    with system.exclusive_use(settings.run.default_root_dir):
        with pytest.raises(UserError, match="another run is at work"):
            optimize_avatar(settings)
    assert not list(settings.run.default_root_dir.iterdir())
