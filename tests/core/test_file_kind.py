"""Failed downloads and files of another kind are named, whatever was expected in their place."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nha.core.errors import UserError
from nha.core.file_kind import FIRST_BYTES, failed_download, wrong_kind
from nha.core.safe_pickle import load_pickle
from nha.core.torch_file import load_torch
from nha.data.image_sequence import read_image
from nha.data.tracking_file import read_tracking
from nha.data.video_io import iterate_frames, video_info
from nha.tracking.exchange.convert import import_tracking


def a_zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("notes.txt", "no arrays")
    return file.getvalue()


FAILED = {
    "is a web page": [
        b"<!DOCTYPE html><html>",
        b"\xef\xbb\xbf\r\n<!doctype HTML>",
        b"<!-- saved --><html>",
        b"<head><title>",
    ],
    "is an error message of a server": [
        b"404: Not Found",
        b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code></Error>',
        b'{"message": "Not Found"}',
        b'{"error":{"code":403}}',
    ],
    "is a Git LFS pointer": [b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"],
    "is a git-annex pointer": [
        b"/annex/objects/MD5E-s123--abc.npz\n",
        b"../../.git/annex/objects/pV/5x/MD5E-s1--a.npz",
    ],
    "begins with zeros only": [bytes(2000)],
    "is empty": [b""],
}
ARCHIVES = {
    "is a gzip archive; unpack it": b"\x1f\x8b\x08\0" + b"x" * 50,
    "is a RAR archive; unpack it": b"Rar!\x1a\x07\x01\0" + b"x" * 50,
    "is a 7z archive; unpack it": b"7z\xbc\xaf\x27\x1c" + b"x" * 50,
    "is a PDF document": b"%PDF-1.7\n",
}
CASES = [(content, words) for words, contents in FAILED.items() for content in contents]
CASES += [(content, words) for words, content in ARCHIVES.items()]
READERS: dict[str, Callable[[Path], object]] = {
    "me.ckpt": load_torch,
    "generic_model.pkl": load_pickle,
    "tracked_flame_params.npz": read_tracking,
    "vhap.npz": lambda path: import_tracking(path, path.parent / "out", head="procedural"),
    "me.mp4": video_info,
    "you.mp4": iterate_frames,
    "1.png": read_image,
}


@pytest.mark.parametrize("name", READERS)
def test_every_reader_names_it(tmp_path, name):
    path = tmp_path / name
    for content, words in CASES:
        path.write_bytes(content)
        with pytest.raises(UserError, match=words) as caught:
            READERS[name](path)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)


def test_files_of_other_kinds(tmp_path):
    path = tmp_path / "file"
    for content, words in (
        (a_zip(), "is a zip archive; unpack it first"),
        (b"\x89PNG\r\n\x1a\n" + b"x" * 50, "is an image; name another file"),
        (b"\0\0\0\x20ftypisom" + b"x" * 50, "is a video; name another file"),
        (b"glTF\x02\0\0\0" + b"x" * 50, "is a GLB file"),
        (b'\x40\0\0\0\0\0\0\0{"weight"' + b"x" * 50, "is a safetensors file"),
    ):
        path.write_bytes(content)
        with pytest.raises(UserError, match=words):
            load_pickle(path)
        if content != a_zip():
            with pytest.raises(UserError, match=words):
                read_tracking(path)
    path.write_bytes(a_zip())
    with pytest.raises(UserError, match=r"a zip archive without a checkpoint \(notes\.txt\)"):
        load_torch(path)
    with pytest.raises(UserError, match="not a video: .* is a zip archive; unpack it first"):
        video_info(path)


def test_good_files_are_none(tmp_path, make_tracking):
    array = io.BytesIO()
    np.save(array, np.zeros(3))
    for start in (b"\x80\x04}.", b"(dp0\n.", array.getvalue(), b"P6 4 4 255\n", b"\0" * (FIRST_BYTES - 1)):
        assert failed_download(start) is None
        assert wrong_kind(start) is None
    assert wrong_kind(a_zip(), "a zip archive") is None
    assert wrong_kind(b"\x1aE\xdf\xa3", "a video") is None
