"""Pickles that would exhaust memory, stack or time are refused before anything is built from them."""

from __future__ import annotations

import io
import pickle
import resource
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from nha.core.errors import UserError
from nha.core.pickle_limits import DEEPEST_NESTING, check_pickle
from nha.core.safe_pickle import load_npy, load_pickle
from nha.core.torch_file import load_torch


def as_torch_file(content: bytes, path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/version", "3\n")
    return path


NESTED_KEY = b"\x80\x02}K\x00" + b"\x85" * 1_000_000 + b"K\x01s."  # {(((...0...))): 1}
LARGE_INDEX = b"\x80\x02Nr" + (2**27).to_bytes(4, "little") + b"."
NESTED_LIST = b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b"."
MANY = b"\x80\x02]" + b"Na" * 600_000 + b"."
UNFINISHED = b"\x80\x02" + b"(" * 100_000
HOSTILE = [NESTED_KEY, LARGE_INDEX, NESTED_LIST, MANY, UNFINISHED]
NAMES = ["nested key", "large memo index", "nested list", "many operations", "marks"]


@pytest.mark.parametrize("content", HOSTILE, ids=NAMES)
def test_hostile_pickles_are_one_line(content, tmp_path):
    path = tmp_path / "model.pkl"
    path.write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for read in (load_pickle, load_torch):
        with pytest.raises(UserError, match=r"model\.pkl is") as caught:
            read(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"x\.ckpt is"):
        load_torch(as_torch_file(content, tmp_path / "x.ckpt"))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


def test_shared_lists_are_not_expanded(tmp_path):
    """A list of two references to a list of two references, and so on, in a chumpy array: 2**40 numbers."""
    nested: list = [1.0]
    for _ in range(40):
        nested = [nested, nested]
    content = pickle.dumps(nested, 2)[2:-1]
    chumpy = b"\x80\x02cchumpy.ch\nCh\n)\x81}X\x01\x00\x00\x00x" + content + b"sb."
    (tmp_path / "model.pkl").write_bytes(chumpy)
    with pytest.raises(UserError, match="chumpy array that holds no array"):
        load_pickle(tmp_path / "model.pkl")


def test_an_archive_that_expands_too_far_is_refused(tmp_path):
    path = tmp_path / "x.ckpt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(0, 2))
        archive.writestr("archive/data/0", bytes(200 << 20))
    with pytest.raises(UserError, match=r"x\.ckpt is refused: its \d+ bytes expand to"):
        load_torch(path)


def test_a_flipped_bit_in_a_checkpoint_is_noticed(tmp_path):
    path = tmp_path / "x.ckpt"
    torch.save({"weights": torch.arange(10_000.0)}, path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"x\.ckpt is damaged: the checksum of .*data/0"):
        load_torch(path)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_ordinary_pickles_are_within_the_limits(protocol):
    deep: tuple = ()
    for _ in range(DEEPEST_NESTING - 20):
        deep = (deep,)
    shared = np.arange(3.0)
    content = {"x": [shared] * 100, deep: {1, 2}, "s": "a" * 1000, "n": [[i] for i in range(1000)], "f": 1.5}
    check_pickle(io.BytesIO(pickle.dumps(content, protocol)))


def test_files_of_both_formats_are_read(tmp_path):
    state = {"weights": torch.arange(6.0).reshape(2, 3), "step": 3}
    for new in (True, False):
        torch.save(state, tmp_path / "x.pt", _use_new_zipfile_serialization=new)
        read = load_torch(tmp_path / "x.pt")
        assert torch.equal(read["weights"], state["weights"])
        assert read["step"] == 3


def test_object_arrays_have_the_same_limits(tmp_path):
    np.save(tmp_path / "x.npy", np.array({"a": np.arange(3)}, object), allow_pickle=True)
    assert load_npy(tmp_path / "x.npy")["a"].tolist() == [0, 1, 2]
    header = (tmp_path / "x.npy").read_bytes()[:128]
    (tmp_path / "y.npy").write_bytes(header + NESTED_KEY)
    with pytest.raises(UserError, match=r"y\.npy is refused"):
        load_npy(tmp_path / "y.npy")
