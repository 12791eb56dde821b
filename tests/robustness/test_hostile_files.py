"""Files that were made to do harm: no regular files, huge claims, archives with odd names, texts with control codes."""

from __future__ import annotations

import io
import json
import os
import socket
import struct
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from nha.avatar.checkpoint import read_checkpoint
from nha.core.config_values import read_ini
from nha.core.safe_pickle import load_npy, load_pickle
from nha.data.dataset_folder import read_keypoints, read_labels, read_rgb, read_transforms
from nha.data.image_sequence import read_image
from nha.data.splits import read_split
from nha.data.tracking_file import read_tracking, write_tracking
from nha.data.video_io import video_info
from nha.head.description import read_description
from nha.head.flame_files import read_head_folder
from nha.preprocess.dataset_info import read_info
from nha.tracking.appearance import read_albedo_space
from nha.tracking.exchange.readers import read_foreign
from tests.conftest import noisy_tracking
from tests.robustness.conftest import Attempts, bounded_memory

READERS = {
    "rgb": read_rgb,
    "labels": read_labels,
    "image": read_image,
    "keypoints": read_keypoints,
    "transforms": read_transforms,
    "split": read_split,
    "ini": lambda path: read_ini(path, ["seed"]),
    "pickle": load_pickle,
    "npy": load_npy,
    "avatar": read_checkpoint,
    "tracking": read_tracking,
    "video": video_info,
    "head": read_head_folder,
    "albedo": lambda path: read_albedo_space(path, 5),
    "foreign": lambda path: read_foreign(path, None, None),
}
JSON_READERS = ("keypoints", "transforms", "split")
ARCHIVE_READERS = ("avatar", "tracking", "albedo", "head", "foreign")


def try_all(attempts: Attempts, path: Path, kinds=tuple(READERS)) -> dict[str, str]:
    with bounded_memory():
        errors = {kind: attempts.read(READERS[kind], path) for kind in kinds}
    assert attempts.slowest_s < 2
    return errors


@pytest.mark.skipif(os.name != "posix", reason="named pipes")
@pytest.mark.parametrize("kind", ["pipe", "socket", "folder", "endless link", "device", "link to a device"])
def test_what_is_no_file_is_refused_at_once(attempts, tmp_path, kind):
    path = tmp_path / "x"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "endless link":
        path.symlink_to(path)
    elif kind == "device":
        path = Path("/dev/zero")
    elif kind == "link to a device":
        path.symlink_to("/dev/zero")
    else:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(os.path.relpath(path))  # the name of a socket is at most 107 bytes long
    assert all(try_all(attempts, path).values())


def test_a_huge_file_without_content_is_refused_at_once(attempts, tmp_path):
    with open(tmp_path / "x", "wb") as file:
        file.truncate(20 << 30)
    assert all(try_all(attempts, tmp_path / "x").values())


@pytest.mark.parametrize(
    "name", ["new\nerror: forged", "\x1b[2J\x1b[31m", "bidi\u202egnp", "x" * 255, "~", "a %s {}"]
)
def test_names_of_files_cannot_control_the_terminal(attempts, tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    for text in try_all(attempts, tmp_path / name).values():
        assert text.isprintable()


# --- archives -------------------------------------------------------------------------------------------


def npy(array: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, array, allow_pickle=True)
    return content.getvalue()


def npy_claiming(shape: str) -> bytes:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode()


def archive(path: Path, entries: list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> Path:
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", method) as file:
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, content in entries:
            file.writestr(name, content)
    return path


@pytest.fixture(scope="module")
def entries(tmp_path_factory) -> list[tuple[str, bytes]]:
    path = tmp_path_factory.mktemp("archive") / "t.npz"
    write_tracking(path, noisy_tracking(np.random.default_rng(0), (0, 1, 2), (48, 64)))
    with np.load(path) as arrays:
        return [(f"{name}.npy", npy(array)) for name, array in arrays.items()]


ARCHIVES = {
    "names twice": lambda entries: entries + entries,
    "an absolute path": lambda entries: [*entries, ("/etc/x.npy", npy(np.ones(3)))],
    "a path that leaves the folder": lambda entries: [*entries, ("../../x.npy", npy(np.ones(3)))],
    "20000 entries": lambda entries: [*entries, *((f"x{i}.npy", b"") for i in range(20000))],
    "objects": lambda entries: [(name, npy(np.array([{"a": 1}], object))) for name, _ in entries],
    "text": lambda entries: [(name, b"hello") for name, _ in entries],
    "a huge shape": lambda entries: [(name, npy_claiming("(100000, 1000000)")) for name, _ in entries],
    "a negative shape": lambda entries: [(name, npy_claiming("(-1, 3)")) for name, _ in entries],
    "no entries": lambda entries: [],
    "control codes": lambda entries: [(f"\x1b[2J\n{name}", content) for name, content in entries],
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_odd_archives(attempts, tmp_path, entries, name):
    path = archive(tmp_path / "x.npz", ARCHIVES[name](entries))
    errors = try_all(attempts, path, ARCHIVE_READERS)
    assert bool(errors["tracking"]) == (name not in ("names twice", "an absolute path", "20000 entries",
                                                     "a path that leaves the folder"))  # fmt: skip
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_archives_that_expand_far(attempts, tmp_path, method):
    path = archive(tmp_path / "x.npz", [("mean.npy", npy(np.zeros(100_000_000, np.uint8)))], method)
    assert all(try_all(attempts, path, ARCHIVE_READERS).values())


@pytest.mark.parametrize(
    "content",
    [
        npy_claiming("(100000, 1000000)"),
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b"x" * 1000,
        b"\x93NUMPY\x01\x00" + struct.pack("<H", 60000) + b"(" * 60000,
        b"\x93NUMPY\x09\x00" + bytes(100),
    ],
)
def test_array_files_with_odd_headers(attempts, tmp_path, content):
    (tmp_path / "x.npy").write_bytes(content)
    assert all(try_all(attempts, tmp_path / "x.npy", ("npy",)).values())


# --- texts ----------------------------------------------------------------------------------------------

FACE = {
    "bounding_box": [0, 0, 1, 1],
    "face_keypoints_2d": [1.5] * 204,
    "iris_keypoints_2d": [1.0] * 6,
}
KEYPOINTS = json.dumps({"origin": "x", "people": [FACE]})
JSON_FILES = {
    "NaN": KEYPOINTS.replace("1.5", "NaN", 1),
    "Infinity": KEYPOINTS.replace("1.5", "-Infinity", 1),
    "4000 digits": KEYPOINTS.replace("1.5", "9" * 4000, 1),
    "5000 digits": KEYPOINTS.replace("1.5", "9" * 5000, 1),
    "nested": '{"a":' * 100_000,
    "a nested list": "[" * 100_000 + "]" * 100_000,
    "keys twice": '{"people": [], ' + KEYPOINTS[1:],
    "half a surrogate": '{"origin": "\\ud800", "people": [], "train": "\\ud800"}',
    "another encoding": KEYPOINTS.encode("utf-16"),
    "zeros": bytes(1000),
    "a byte order mark": b"\xef\xbb\xbf" + KEYPOINTS.encode(),
    "50000 people": json.dumps({"people": [FACE] * 2000, "train": list(range(50_000)), "val": []}),
    "a text for numbers": json.dumps(
        {"people": [{**FACE, "bounding_box": "1234"}], "train": "12", "val": ""}
    ),
    "objects for numbers": json.dumps({"people": [{**FACE, "bounding_box": {"0": 1}}], "train": {"0": 1}}),
    "true for numbers": json.dumps({"people": {}, "train": [True, False], "val": []}),
    "negative frames": '{"train": [-1], "val": [-2]}',
    "a large frame": '{"train": [' + "9" * 4000 + '], "val": []}',
}


@pytest.mark.parametrize("name", JSON_FILES)
def test_odd_json_files(attempts, tmp_path, name):
    content = JSON_FILES[name]
    (tmp_path / "x.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    try_all(attempts, tmp_path / "x.json", JSON_READERS)
    for file_name, read in (("head.json", read_description), ("dataset_info.json", read_info)):
        (tmp_path / file_name).write_bytes((tmp_path / "x.json").read_bytes())
        attempts.read(lambda path, read=read: read(path.parent), tmp_path / file_name)
    assert attempts.slowest_s < 2


INI_FILES = {
    "interpolation": "[a]\nseed = %(x)s\n",
    "300000 keys": "\n".join(f"k{i} = 1" for i in range(300_000)),
    "one key 300000 times": "seed = 1\n" * 300_000,
    "a long key": "k" * 10**7 + " = 1\n",
    "a long line": "x" * 10**7,
    "brackets": "[" * 10**6,
    "a zero": "seed = \0",
    "a control code": "\x1b[2J = 1\n",
    "lines in a line": "seed = 1\u2028error = 1\r\x0bx = 2",
    "another encoding": "seed = 1".encode("utf-16"),
}


@pytest.mark.parametrize("name", INI_FILES)
def test_odd_settings_files(attempts, tmp_path, name):
    content = INI_FILES[name]
    (tmp_path / "x.ini").write_bytes(content if isinstance(content, bytes) else content.encode())
    try_all(attempts, tmp_path / "x.ini", ("ini",))
