"""Every file of a head model, damaged in many ways: the model is read, or refused in one line."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from nha.cli.main import main
from nha.core.errors import UserError
from nha.head.describe import describe_head
from nha.head.flame_files import read_head_folder
from nha.head.model import HeadModel
from nha.tracking.appearance import read_albedo_space
from tests.robustness.conftest import bounded_memory


@pytest.fixture(scope="module")
def files(assets, tmp_path_factory) -> Path:
    """A copy of the procedural head's files."""
    folder = tmp_path_factory.mktemp("head") / "files"
    shutil.copytree(assets.folder, folder)
    (folder / ".manifest.jsonl").unlink(missing_ok=True)
    return folder


@pytest.fixture
def copy(files, tmp_path) -> Path:
    """A folder with links to these files, of which a test replaces one."""
    for path in files.iterdir():
        (tmp_path / path.name).symlink_to(path)
    return tmp_path


def replace(folder: Path, name: str, content: bytes) -> Path:
    (folder / name).unlink(missing_ok=True)
    (folder / name).write_bytes(content)
    return folder


def use(folder: Path) -> None:
    """Read a head model and use it as the programs do."""
    assets = read_head_folder(folder)
    model = HeadModel(assets, subdivisions=0, drop_lower_neck=False, blur_sigma=None)
    vertices = model(model.neutral_params(1))
    if not torch.isfinite(vertices).all():
        raise AssertionError("vertices that are not finite")
    describe_head(assets, folder / "generic_model.pkl")


def with_marks(values, quick) -> list:
    """The parameters of a test, of which `make test` takes only the quick ones."""
    return [
        value if value in quick else pytest.param(value, marks=pytest.mark.robustness) for value in values
    ]


FILES = [
    "generic_model.pkl", "head_template_mesh_mouth.obj", "head_template_mesh.obj", "FLAME_masks_mouth.pkl",
    "landmark_embedding_with_eyes.npy", "lower_neck_face_idcs.npy", "head.json",
]  # fmt: skip


@pytest.mark.parametrize("name", with_marks(FILES, ["head.json"]))
def test_files_that_are_cut_or_of_another_kind_are_refused(files, copy, attempts, name):
    content = (files / name).read_bytes()
    for changed in (
        b"",
        content[: len(content) // 2],
        b"\0" * 1000,
        b"<html></html>",
        b"[1, 2]",
        b"\xff" * 100,
    ):
        with bounded_memory():
            attempts.read(use, replace(copy, name, changed))


def test_the_albedo_space(files, tmp_path, attempts):
    path, content = tmp_path / "x.npz", (files / "FLAME_texture.npz").read_bytes()
    with np.load(files / "FLAME_texture.npz") as archive:
        mean, directions = archive["mean"], archive["tex_dir"]
    size = len(mean)

    def read(file: Path) -> None:
        read_albedo_space(file, 5, size)

    for changed in (b"", content[:-1], content[: len(content) // 2], b"PK\x03\x04", b"x", b"\x93NUMPY"):
        path.write_bytes(changed)
        assert attempts.read(read, path)
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 4
    path.write_bytes(flipped)
    assert attempts.read(read, path)
    for arrays in (
        {},
        {"mean": mean},
        {"mean": mean, "tex_dir": np.array([{}], object)},
        {"mean": mean.astype(str), "tex_dir": directions},
        {"mean": mean.astype(complex), "tex_dir": directions},
        {"mean": mean[:-1], "tex_dir": directions},
        {"mean": mean, "tex_dir": directions[..., 0]},
        {"mean": np.float32(1), "tex_dir": directions},
        {"mean": np.full(mean.shape, np.nan), "tex_dir": directions},
        {"mean": mean, "tex_dir": np.full(directions.shape, np.inf)},
        {"mean": np.zeros((0, 0, 3)), "tex_dir": np.zeros((0, 0, 3, 1))},
    ):
        np.savez(path, **arrays)
        assert attempts.read(read, path), arrays.keys()


VALUES = {
    "nan": lambda array: np.full(array.shape, np.nan),
    "infinite": lambda array: np.full(array.shape, np.inf),
    "1e300": lambda array: np.full(array.shape, 1e300),
    "-1": lambda array: np.full(array.shape, -1),
    "1e9": lambda array: np.full(array.shape, 10**9),
    "text": lambda array: np.full(array.shape, "a"),
    "empty": lambda array: np.zeros(0),
    "scalar": lambda array: np.float64(1),
    "complex": lambda array: np.full(array.shape, 1j),
    "shorter": lambda array: array[:-1],
}


@pytest.mark.parametrize("change", with_marks(VALUES, ["nan"]))
def test_arrays_of_the_model_file(files, copy, attempts, change):
    model = pickle.loads((files / "generic_model.pkl").read_bytes())
    for key in ("v_template", "J_regressor", "weights", "kintree_table", "f"):
        array = model[key].toarray() if hasattr(model[key], "toarray") else np.asarray(model[key])
        content = pickle.dumps({**model, key: VALUES[change](array)}, 2)
        text = attempts.read(use, replace(copy, "generic_model.pkl", content))
        if change in ("nan", "infinite", "text", "empty", "scalar") and key != "f":
            assert text, key


@pytest.mark.parametrize("change", with_marks(VALUES, ["1e9"]))
def test_landmarks_and_indices(files, copy, attempts, change):
    name = "landmark_embedding_with_eyes.npy"
    embedding = np.load(files / name, allow_pickle=True)[()]
    for key in embedding:
        changed = np.array({**embedding, key: VALUES[change](np.asarray(embedding[key]))}, object)
        (copy / name).unlink()
        np.save(copy / name, changed, allow_pickle=True)
        text = attempts.read(use, copy)
        if change in ("nan", "infinite", "1e9", "text", "empty") and "full" in key:
            assert text, key
    (copy / name).unlink()
    (copy / name).symlink_to(files / name)
    faces = np.load(files / "lower_neck_face_idcs.npy")
    (copy / "lower_neck_face_idcs.npy").unlink()
    np.save(copy / "lower_neck_face_idcs.npy", VALUES[change](faces))
    attempts.read(use, copy)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("f ", "f 99999999/1 1/1 2/2\nf "), ("f ", "f 0/0 0/0 0/0\nf "), ("f ", "f 1/99999999 2/2 3/3\nf "),
        ("f ", "f 1 2 3\nf "), ("f ", "f " + "9" * 5000 + "/1 2/2 3/3\nf "), ("vt ", "vt nan nan\nvt "),
        ("vt ", "vt 1e999 0\nvt "), ("vt ", "vt x y\nvt "), ("vt ", "vt \x1b[2J 0\nvt "),
    ],
)  # fmt: skip
def test_triangles_and_texture_coordinates(files, copy, attempts, old, new):
    for name in ("head_template_mesh_mouth.obj", "head_template_mesh.obj"):
        text = (files / name).read_text()
        assert attempts.read(use, replace(copy, name, text.replace(old, new, 1).encode())), name
        (copy / name).unlink()
        (copy / name).symlink_to(files / name)


DESCRIPTIONS = [
    {"name": 3}, {"name": ["a"]}, {"name": None}, {"name": "\ud800"}, {"name": "\x1b[2J\nerror: forged"},
    {"name": "n" * 10**6},
    {"licence": {"a": 1}}, {"licence": "x\u202ey\n"}, {"generator_version": [1]}, {"unknown": 1},
    {"shape_names": 3}, {"shape_names": "abc"}, {"shape_names": [1, None]}, {"expression_names": {"a": 1}},
    {"expression_names": ["x" * 10**6]}, {"mouth_features": 3}, {"mouth_features": []}, {"mouth_features": {}},
    {"mouth_features": {"pairs": [[10**9, 0]], "minimum": [0], "maximum": [1]}},
    {"mouth_features": {"pairs": [[0, 1]], "minimum": [0, 1], "maximum": [1]}},
    {"mouth_features": {"pairs": [[0, 1]], "minimum": [float("nan")], "maximum": [1]}},
    {"mouth_features": {"pairs": [[0.5, "a"]], "minimum": [0], "maximum": [1]}},
    {"mouth_features": {"pairs": [[-1, 1]], "minimum": [0], "maximum": [1]}},
    {"mouth_features": {"pairs": [0, 1], "minimum": [0], "maximum": [1]}},
]  # fmt: skip


@pytest.mark.parametrize(
    "change",
    with_marks(
        DESCRIPTIONS,
        [
            change
            for change in DESCRIPTIONS
            if str(change).startswith(("{'name': '\\x1b", "{'mouth_features': []"))
        ],
    ),
    ids=lambda change: str(change)[:40],
)
def test_descriptions(files, copy, attempts, change, capsys):
    content = json.loads((files / "head.json").read_text()) | change
    replace(copy, "head.json", json.dumps(content).encode())
    text = attempts.read(use, copy)
    if (
        "mouth_features" in change
        or change.get("name") in (3, ["a"])
        or change.get("shape_names") in (3, "abc")
    ):
        assert text, change
    if not text:
        assets = read_head_folder(copy)
        described = describe_head(assets, copy / "generic_model.pkl")
        assert described.replace("\n", "").isprintable()
        assert "\nerror: forged" not in described
        assert len(assets.name) <= 1000


def test_a_head_model_is_refused_as_a_whole_by_the_program(copy, capsys):
    replace(copy, "head.json", b'{"name": "x", "mouth_features": {"pairs": [[1e9, 0]]}}')
    with pytest.raises(SystemExit) as ended:
        main(["head", "inspect", str(copy), "--out", str(copy / "x.png")])
    assert ended.value.code == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    with pytest.raises(UserError):
        use(copy)
