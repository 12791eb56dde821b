"""Machines without a home folder, temporary files or memory; names that are no UTF-8; caches that programs share."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from nha.core.errors import UserError
from nha.core.paths import config_file, path_of_user
from nha.core.system import system_refusal
from nha.data import frame_store
from nha.data.dataset_folder import DatasetFolder
from nha.data.frame_store import CACHE_FOLDER, FrameStore
from nha.data.video_io import VideoWriter
from nha.preprocess import resume
from nha.preprocess.options import PreprocessOptions
from nha.preprocess.pipeline import build_dataset
from nha.tracking.tensorboard_log import open_tensorboard_log

NO_HOME = """
import pwd, sys
def unknown(number):
    raise KeyError(number)
pwd.getpwuid = unknown
import numpy as np
from nha.core.cache import cached_array
def count():
    return np.arange(3)
assert cached_array(count, 1).tolist() == [0, 1, 2]
"""


@pytest.mark.skipif(os.name != "posix", reason="users of POSIX")
@pytest.mark.parametrize("cache", [None, "relative/cache"])
def test_a_user_without_a_home_folder_has_no_cache(tmp_path, repository, cache):
    environment = os.environ | {"PYTHONPATH": str(repository)} | ({"XDG_CACHE_HOME": cache} if cache else {})
    environment = {name: text for name, text in environment.items() if name != "HOME"}
    if cache is None:
        environment.pop("XDG_CACHE_HOME", None)
    done = subprocess.run(
        [sys.executable, "-c", NO_HOME], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("read", [path_of_user, config_file])
def test_the_home_folder_of_nobody_is_one_line(read):
    with pytest.raises(UserError, match="home folder is not known; write the whole path"):
        read("~nobody_has_this_name/x.ini")


def test_without_a_folder_for_temporary_files_frames_are_read(tiny_dataset, monkeypatch):
    def missing():
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "gettempdir", missing)
    folder = DatasetFolder(tiny_dataset().data_path)
    assert FrameStore(folder, [0, 1]).directory.parent == folder.root / CACHE_FOLDER
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert FrameStore(folder, [0, 1]).directory is None


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        MemoryError("Unable to allocate 3 GiB"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:118] . DefaultCPUAllocator: can't allocate memory: 9 bytes"
        ),
        RuntimeError("CUDA out of memory. Tried to allocate 2 GiB.\nmore"),
        OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
        OSError(errno.EMFILE, os.strerror(errno.EMFILE)),
    ],
)
def test_limits_of_memory_and_open_files_are_one_line(error):
    line = system_refusal(error)
    assert line.startswith(("not enough memory (", "Too many open files: "))
    assert "\n" not in line


def test_two_programs_build_the_same_cache_at_once(tiny_dataset, monkeypatch):
    """The other one finishes while this one decodes."""
    folder = DatasetFolder(tiny_dataset().data_path)
    decode, others = FrameStore._decode, []

    def decode_and_meet(store, row):
        if not others:
            others.append(None)
            others[0] = FrameStore(folder, [0, 1, 2])
        return decode(store, row)

    monkeypatch.setattr(FrameStore, "_decode", decode_and_meet)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    # This process stands for both, and its own partial files count as those of an earlier process.
    monkeypatch.setattr(frame_store, "remove_partial_files", lambda folder: None)
    store = FrameStore(folder, [0, 1, 2])
    assert np.array_equal(store.read([2, 0]).rgb, others[0].read([2, 0]).rgb)
    assert [path.name for path in (folder.root / CACHE_FOLDER).iterdir()] == [store.directory.name]


def test_a_cache_that_another_program_removes_at_once_only_costs_time(tiny_dataset, monkeypatch):
    folder = DatasetFolder(tiny_dataset().data_path)
    expected = FrameStore(folder, [0, 1], "none").read([0, 1])
    build = FrameStore._build

    def build_and_lose(store):
        build(store)
        shutil.rmtree(folder.root / CACHE_FOLDER)

    monkeypatch.setattr(FrameStore, "_build", build_and_lose)
    assert np.array_equal(FrameStore(folder, [0, 1]).read([0, 1]).normals, expected.normals)


@pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes")
def test_tracking_and_training_go_on_without_curves_in_a_folder_that_is_no_utf_8(tmp_path, caplog):
    from nha.optimization.trainer import _curves

    folder = tmp_path / os.fsdecode(b"f\xff")
    with open_tensorboard_log(folder) as log:
        log.energies("joint", {"x": np.float32(1)})
        log.frame_errors(0, {"x": 1.0})
        log.image("x", np.zeros((4, 4, 3), np.uint8), 0)
    assert _curves(folder) is False
    assert caplog.text.count("no curves for TensorBoard") == 2


def test_a_dataset_folder_that_is_replaced_by_a_link_is_left_as_it_is(tmp_path, monkeypatch):
    from nha.synthetic.settings import SyntheticSettings
    from nha.synthetic.write_dataset import write_subject

    write_subject(
        tmp_path / "person", SyntheticSettings(frames=4, size=(64, 64), supersampling=1, progress=False)
    )
    options = PreprocessOptions(
        video=tmp_path / "person" / "video.mp4", out_path=tmp_path / "data", estimators="truth", scale=64
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with VideoWriter(elsewhere / "dataset.mp4") as writer:
        writer.write(np.zeros((16, 16, 3), np.uint8))
    before = {path: path.read_bytes() for path in elsewhere.iterdir()}
    write_rgb = resume.write_rgb

    def write(path: Path, rgb: np.ndarray) -> None:
        if not options.out_path.is_symlink():
            os.replace(options.out_path, tmp_path / "moved")
            options.out_path.symlink_to(elsewhere)
        write_rgb(path, rgb)

    monkeypatch.setattr(resume, "write_rgb", write)
    with pytest.raises(UserError, match="moved, removed or replaced"):
        build_dataset(options)
    assert {path: path.read_bytes() for path in elsewhere.iterdir() if path.is_file()} == before
