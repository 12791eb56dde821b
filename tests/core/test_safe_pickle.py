"""Readers of untrusted pickles and checkpoints: what they read and what they refuse."""

from __future__ import annotations

import argparse
import collections
import io
import pathlib
import pickle
import subprocess
import sys
import types
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import scipy.sparse
import torch

from nha.core.errors import UserError
from nha.core.safe_pickle import load_npy, load_pickle
from nha.core.torch_file import load_torch


def written(folder: pathlib.Path, content: bytes, name: str = "generic_model.pkl") -> pathlib.Path:
    path = folder / name
    path.write_bytes(content)
    return path


class Call:
    """Pickles as a call of `function(*args)`, followed by a state."""

    def __init__(self, function, *args, state=None):
        self.parts = (function, args) if state is None else (function, args, state)

    def __reduce__(self):
        return self.parts


# -- what is read --------------------------------------------------------------------------------------------

VALUES = {
    "float64": np.linspace(0, 1, 7),
    "fortran": np.asfortranarray(np.arange(12, dtype=np.float32).reshape(3, 4)),
    "big endian": np.arange(5, dtype=">i4"),
    "empty": np.zeros((0, 3)),
    "bool": np.array([True, False]),
    "text": np.array(["left", "right"]),
    "objects": np.array([{"ids": np.arange(3)}, None], object),
    "scalar": np.float32(1.5),
    "plain": {
        "a": [1, 2.5, "x", b"\xff", None, True, (1, 2), {1, 2}, frozenset({3}), 1 + 2j, bytearray(b"q")]
    },
    "ordered": OrderedDict([("b", np.arange(2)), ("a", 1)]),
}


def assert_same(ours, theirs) -> None:
    if isinstance(theirs, np.ndarray):
        assert isinstance(ours, np.ndarray)
        assert ours.shape == theirs.shape
        assert ours.dtype == theirs.dtype.newbyteorder("=")
        for x, y in zip(ours.ravel(), theirs.ravel(), strict=True):
            assert_same(x, y)
    elif isinstance(theirs, dict):
        assert list(ours) == list(theirs)
        for key in theirs:
            assert_same(ours[key], theirs[key])
    else:
        assert type(ours) is type(theirs) or isinstance(theirs, (np.generic, bytearray))
        assert ours == theirs


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", VALUES)
def test_values_come_back(tmp_path, name, protocol):
    if protocol < 2 and name == "plain":
        pytest.skip("sets and complex numbers of protocols 0 and 1 are read through the same builders")
    content = pickle.dumps(VALUES[name], protocol=protocol)
    assert_same(load_pickle(written(tmp_path, content)), VALUES[name])


@pytest.mark.parametrize("kind", ["csc", "csr"])
@pytest.mark.parametrize("old_names", [False, True])
def test_sparse_matrices_come_back(tmp_path, kind, old_names):
    dense = np.array([[0, 1.5, 0], [2, 0, 3]])
    content = pickle.dumps(getattr(scipy.sparse, f"{kind}_matrix")(dense), protocol=2)
    if old_names:
        content = content.replace(f"cscipy.sparse._{kind}\n".encode(), f"cscipy.sparse.{kind}\n".encode())
        content = content.replace(b"cnumpy._core.", b"cnumpy.core.")
    ours = load_pickle(written(tmp_path, content))
    assert ours.format == kind
    np.testing.assert_array_equal(ours.toarray(), dense)


def test_sparse_index_outside_the_shape_is_refused(tmp_path):
    matrix = scipy.sparse.csc_matrix(np.eye(3))
    matrix.indices[1] = 1_000_000
    with pytest.raises(UserError, match="damaged"):
        load_pickle(written(tmp_path, pickle.dumps(matrix, protocol=2)))


def test_python_2_strings_and_shared_objects(tmp_path):
    assert load_pickle(written(tmp_path, b"U\x03a\xe9b.")) == "aéb"
    shared = np.arange(3)
    ours = load_pickle(written(tmp_path, pickle.dumps([shared, shared])))
    assert ours[0] is ours[1]
    loop: list = [1]
    loop.append(loop)
    ours = load_pickle(written(tmp_path, pickle.dumps(loop)))
    assert ours[1] is ours


def chumpy_pickle(*, selection: bool) -> bytes:
    """What chumpy objects write, as opcodes, because chumpy is not installed."""
    base = b"cchumpy.ch\nCh\n)\x81}(X\x01\x00\x00\x00x" + inner(np.arange(6.0).reshape(2, 3)) + b"ub"
    if not selection:
        return b"\x80\x02" + base + b"."
    state = b"}(X\x01\x00\x00\x00a" + base + b"X\x04\x00\x00\x00idxs" + inner(np.array([5, 0, 2, 1]))
    state += b"X\x0f\x00\x00\x00preferred_shape" + inner((2, 2)) + b"u"
    return b"\x80\x02cchumpy.reordering\nSelect\n)\x81" + state + b"b."


def inner(value) -> bytes:
    """A value's opcodes without header and stop; memo ids may clash, but clashing values are not used again."""
    return pickle.dumps(value, protocol=2)[2:-1]


def test_chumpy_arrays_become_numpy_arrays(tmp_path):
    ours = load_pickle(written(tmp_path, chumpy_pickle(selection=False)))
    np.testing.assert_array_equal(ours, np.arange(6.0).reshape(2, 3))
    ours = load_pickle(written(tmp_path, chumpy_pickle(selection=True)))
    np.testing.assert_array_equal(ours, [[5.0, 0.0], [2.0, 1.0]])


def test_chumpy_expression_without_value_is_named(tmp_path):
    with pytest.raises(UserError, match="chumpy.ch_ops.add"):
        load_pickle(written(tmp_path, b"\x80\x02cchumpy.ch_ops\nadd\n)\x81}b."))


def test_flame_shaped_files_are_read(shared_dir, tmp_path):
    source = shared_dir / "flame_like"
    command = [sys.executable, source / "expand.py", tmp_path, "--texture", "0"]
    subprocess.run(command, check=True, capture_output=True)
    model = load_pickle(tmp_path / "generic_model.pkl")
    with np.load(source / "generic_model.npz") as truth:
        for name in ("v_template", "shapedirs", "posedirs", "weights", "f", "kintree_table"):
            np.testing.assert_array_equal(model[name].astype(truth[name].dtype), truth[name])
        np.testing.assert_array_equal(model["J_regressor"].toarray().astype(np.float32), truth["J_regressor"])
    assert len(load_pickle(tmp_path / "FLAME_masks_mouth.pkl")) == 24
    landmarks = load_npy(tmp_path / "landmark_embedding_with_eyes.npy")
    assert landmarks["full_lmk_bary_coords"].shape == (1, 70, 3)
    assert landmarks["dynamic_lmk_faces_idx"].shape == (79, 17)  # a tensor, saved inside the array's pickle
    assert load_npy(tmp_path / "lower_neck_face_idcs.npy").shape == (276,)


# -- what is refused -----------------------------------------------------------------------------------------


def attack(name: str, trace: pathlib.Path) -> bytes:
    """A pickle that would create the file `trace` when a plain unpickler opens it."""
    command = f"touch {trace}"
    code = f"open({str(trace)!r}, 'w').close()"
    if name == "os.system":
        return f"cos\nsystem\n(S{command!r}\ntR.".encode()
    if name == "posix.system":
        return f"cposix\nsystem\n(S{command!r}\ntR.".encode()
    if name == "nested":
        return pickle.dumps({"v_template": [np.zeros(3), Call(eval, code)]})
    if name == "object array":
        return pickle.dumps(np.array([Call(eval, code)], object))
    if name == "stack global":
        return pickle.dumps(Call(exec, code), protocol=4)
    if name == "inst":
        return f"(S{command!r}\nios\nsystem\n.".encode()
    if name == "dotted":
        return (
            pickle.dumps("numpy", 4)[:-1] + pickle.dumps("os.system", 4)[2:-1] + b"\x93" + b"\x8c\x01x\x85R."
        )
    if name == "getattr":
        return pickle.dumps(Call(getattr, np.zeros(1), "dump"))
    if name == "numpy function":
        return f"cnumpy\nload\n(S{str(trace)!r}\ntR.".encode()
    if name == "import":
        return b"cbuiltins\n__import__\n(S'os'\ntR."
    raise KeyError(name)


ATTACKS = {
    "os.system": "os.system",
    "posix.system": "posix.system",
    "nested": "builtins.eval",
    "object array": "builtins.eval",
    "stack global": "builtins.exec",
    "inst": "os.system",
    "dotted": "numpy.os.system",
    "getattr": "builtins.getattr",
    "numpy function": "numpy.load",
    "import": "builtins.__import__",
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused_by_name_and_leaves_no_trace(tmp_path, name):
    trace = tmp_path / "trace"
    path = written(tmp_path, attack(name, trace))
    with pytest.raises(
        UserError, match=rf"generic_model\.pkl refers to {ATTACKS[name]}, which is not allowed"
    ) as caught:
        load_pickle(path)
    assert "\n" not in str(caught.value)
    assert not trace.exists()


def test_the_attacks_are_real(tmp_path):
    trace = tmp_path / "trace"
    pickle.loads(attack("nested", trace))
    assert trace.exists()


HOSTILE = {
    "empty": b"",
    "text": b"this is not a pickle",
    "cut": pickle.dumps(np.arange(100))[:-20],
    "reaches outside": b"Pa_persistent_id\n.",
    "calls a value": b"X\x01\x00\x00\x00a)R.",
    "object array from bytes": pickle.dumps(np.zeros(1)).replace(b"f8", b"O8"),
    "state on a class": b"cnumpy\nndarray\n}X\x04\x00\x00\x00nameX\x01\x00\x00\x00bsb.",
    "dtype called wrongly": b"cnumpy\ndtype\n(X\x04\x00\x00\x00V999tR.",
    "array class called": b"cnumpy\nndarray\n(K\x05tR.",
    "size and memory differ": pickle.dumps(np.zeros(4)).replace(b"K\x04\x85", b"K\x09\x85"),
    "huge bytes": b"cbuiltins\nbytearray\n(J\xff\xff\xff\x7ftR.",
    "reconstructs a built-in": b"ccopy_reg\n_reconstructor\n(cbuiltins\nobject\ncbuiltins\nobject\nNtR.",
    "sets an attribute of a container": b"}X\x01\x00\x00\x00a}b.",
    "deep": b"(" * 100_000 + b"t" * 100_000 + b".",
    "name of two lines": b"\x8c\x02a\n\x8c\x01b\x93.",
    "contains itself": b"cchumpy.ch\nCh\n)\x81q\x00}X\x01\x00\x00\x00xh\x00sb.",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_damaged_or_odd_file_is_one_line(tmp_path, name):
    with pytest.raises(UserError, match=r"^generic_model\.pkl ") as caught:
        load_pickle(written(tmp_path, HOSTILE[name]))
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nothing_here\.pkl cannot be read: No such file"):
        load_pickle(tmp_path / "nothing_here.pkl")


def test_npy_with_an_attack_is_refused(tmp_path):
    trace = tmp_path / "trace"
    path = tmp_path / "landmarks.npy"
    np.save(path, np.array(Call(eval, f"open({str(trace)!r}, 'w')"), object), allow_pickle=True)
    with pytest.raises(UserError, match=r"landmarks\.npy refers to builtins\.eval"):
        load_npy(path)
    assert not trace.exists()


# -- PyTorch's containers ------------------------------------------------------------------------------------


def torch_content() -> dict:
    base = torch.arange(24, dtype=torch.float32)
    return {
        "view": base.view(4, 6)[1:3, ::2],
        "transposed": base.view(4, 6).t(),
        "long": torch.tensor([[1, 2], [3, 4]]),
        "half": torch.ones(3, dtype=torch.float16),
        "bool": torch.tensor([True, False]),
        "scalar": torch.tensor(2.5),
        "empty": torch.empty(0, 3),
        "parameter": torch.nn.Parameter(torch.ones(2, 2)),
        "numpy": np.float64(3.0),
    }


@pytest.mark.parametrize("zipped", [True, False])
def test_torch_files_come_back(tmp_path, zipped):
    content = torch_content()
    path = tmp_path / "weights.pt"
    extra = {"path": pathlib.PurePosixPath("/a/b"), "settings": argparse.Namespace(lr=1e-3)}
    torch.save({**content, **extra}, path, _use_new_zipfile_serialization=zipped)
    ours = load_torch(path)
    assert ours["path"] == "/a/b"
    assert ours["settings"] == {"lr": 1e-3}
    for name, value in content.items():
        if isinstance(value, torch.Tensor):
            assert not ours[name].requires_grad
            assert ours[name].dtype == value.dtype
            torch.testing.assert_close(ours[name], value.detach(), rtol=0, atol=0)
        else:
            assert ours[name] == value


@pytest.mark.parametrize("zipped", [True, False])
def test_torch_attack_is_refused_and_leaves_no_trace(tmp_path, zipped):
    trace = tmp_path / "trace"
    path = tmp_path / "avatar.ckpt"
    bad = {"state_dict": {"w": torch.ones(2)}, "hyper_parameters": Call(eval, f"open({str(trace)!r}, 'w')")}
    torch.save(bad, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match=r"avatar\.ckpt refers to builtins\.eval, which is not allowed"):
        load_torch(path)
    assert not trace.exists()


def test_an_attack_inside_nested_bytes_is_refused(tmp_path):
    trace = tmp_path / "trace"
    hidden = io.BytesIO()
    torch.save(Call(eval, f"open({str(trace)!r}, 'w')"), hidden)
    path = written(
        tmp_path, pickle.dumps(Call(torch.storage._load_from_bytes, hidden.getvalue())), "outer.pt"
    )
    with pytest.raises(UserError):
        load_torch(path)  # a plain pickle is not PyTorch's container
    with path.open("wb") as file:
        torch.save(Call(torch.storage._load_from_bytes, hidden.getvalue()), file)
    with pytest.raises(UserError, match=r"refers to torch\.storage\._load_from_bytes, which is not allowed"):
        load_torch(path)
    path = tmp_path / "landmarks.npy"
    array = np.array({"ids": Call(torch.storage._load_from_bytes, hidden.getvalue())}, object)
    np.save(path, array, allow_pickle=True)
    with pytest.raises(UserError, match=r"landmarks\.npy refers to builtins\.eval, which is not allowed"):
        load_npy(path)
    assert not trace.exists()


def rewritten(path: pathlib.Path, change) -> pathlib.Path:
    """A copy of a zip container with its members passed through `change(name, content)`."""
    out = path.with_name("changed.pt")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return out


def test_a_tensor_that_reaches_outside_its_memory_is_refused(tmp_path):
    path = tmp_path / "weights.pt"
    torch.save({"w": torch.ones(5)}, path)
    size, stride = b"K\x05\x85", b"K\x01\x85"
    wide = rewritten(path, lambda name, raw: raw.replace(size, b"K\x09\x85") if "data.pkl" in name else raw)
    with pytest.raises(UserError, match=r"changed\.pt is damaged .*resize storage"):
        load_torch(wide)
    far = rewritten(path, lambda name, raw: raw.replace(stride, b"K\x63\x85") if "data.pkl" in name else raw)
    with pytest.raises(UserError, match=r"changed\.pt is damaged .*resize storage"):
        load_torch(far)
    short = rewritten(path, lambda name, raw: raw[:-4] if "/data/" in name else raw)
    with pytest.raises(UserError, match="16 bytes"):
        load_torch(short)


def test_settings_of_lightning_become_plain_types(tmp_path):
    """The modules are made up here: reading a checkpoint must not need Lightning."""
    lightning = types.ModuleType("pytorch_lightning.made_up")

    class AttributeDict(dict):
        pass

    class ModelCheckpoint:
        pass

    path = tmp_path / "avatar.ckpt"
    for cls in (AttributeDict, ModelCheckpoint):
        cls.__module__, cls.__qualname__ = lightning.__name__, cls.__name__
        setattr(lightning, cls.__name__, cls)
    sys.modules[lightning.__name__] = lightning
    try:
        content = {"callbacks": {ModelCheckpoint: {"best": None}}, "hparams_type": AttributeDict}
        saved = ModelCheckpoint()
        saved.monitor = np.float32(0.5)
        many = collections.defaultdict(list, {"a": [torch.device("cpu")]})
        settings = AttributeDict(lr=0.1, path=pathlib.PureWindowsPath("C:\\a"), saved=saved, many=many)
        torch.save({**content, "hyper_parameters": settings}, path)
    finally:
        del sys.modules[lightning.__name__]
    ours = load_torch(path)
    assert ours["callbacks"] == {"pytorch_lightning.made_up.ModelCheckpoint": {"best": None}}
    assert ours["hparams_type"] == "pytorch_lightning.made_up.AttributeDict"
    expected = {"lr": 0.1, "path": "C:\\a", "saved": {"monitor": 0.5}, "many": {"a": ["cpu"]}}
    assert ours["hyper_parameters"] == expected
    assert type(ours["hyper_parameters"]) is dict


FAILED_DOWNLOADS = {
    "is empty": b"",
    "is a web page": b"\n<!DOCTYPE html><html><head>",
    "is a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 9\n",
    "is truncated": b"PK\x03\x04" + b"x" * 500,
}


@pytest.mark.parametrize("what", FAILED_DOWNLOADS)
@pytest.mark.parametrize("load", [load_pickle, load_npy, load_torch])
def test_a_failed_download_is_recognised(tmp_path, what, load):
    with pytest.raises(UserError, match=rf"^avatar\.ckpt {what}.* download"):
        load(written(tmp_path, FAILED_DOWNLOADS[what], "avatar.ckpt"))


@pytest.mark.parametrize(("name", "what"), [("truncated", "is truncated"), ("html", "is a web page")])
def test_failed_downloads_of_a_checkpoint(shared_dir, name, what):
    with pytest.raises(UserError, match=rf"^{name}\.ckpt {what}"):
        load_torch(shared_dir / "cases" / f"{name}.ckpt")


def test_a_zip_of_something_else_is_refused(tmp_path):
    path = tmp_path / "weights.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hello.txt", "hello")
    with pytest.raises(UserError, match=r"weights\.pt is damaged or not a file of this kind"):
        load_torch(path)
