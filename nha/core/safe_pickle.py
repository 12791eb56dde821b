"""Read pickles, .npy object arrays and PyTorch files of strangers without running anything they name.

This file says what is understood: for each name a file may ask for, the code of ours that builds it from what
the file notes down. How the notes are taken is in `nha.core.pickle_notes`. Whatever is not understood ends in
a `UserError` that names it.
"""

from __future__ import annotations

import contextlib
import io
import math
import pathlib
import pickle
import re
import struct
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np
import scipy.sparse
import torch

from nha.core.errors import UserError
from nha.core.pickle_notes import STORAGE_DTYPES, Builder, Recorded, RecordingUnpickler, Resolver

__all__ = ["load_npy", "load_pickle", "load_torch"]


def load_pickle(path: str | pathlib.Path, *, encoding: str = "latin1") -> Any:
    """Read a pickle of arrays, sparse matrices and plain containers (FLAME's `generic_model.pkl`).

    Args:
        path: the file.
        encoding: how the 8 bit strings of a Python 2 pickle are decoded.
    Returns:
        What the file holds; chumpy arrays as numpy arrays, ordered dictionaries without their attributes.
    Raises:
        UserError: the file is missing, damaged, or asks for anything that is not on the list.
    """
    path = pathlib.Path(path)
    with _one_line_errors(path), path.open("rb") as file:
        return _unpickle(file, path.name, _ARRAYS, encoding=encoding)


def load_npy(path: str | pathlib.Path, *, encoding: str = "latin1") -> Any:
    """Read a .npy file; an object array of one element (FLAME's landmark embedding) comes as that element.

    Tensors inside the object become torch tensors. Raises `UserError` as `load_pickle` does.
    """
    path = pathlib.Path(path)
    with _one_line_errors(path), path.open("rb") as file:
        major = np.lib.format.read_magic(file)[0]
        read_header = (
            np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read_header(file)
        if not dtype.hasobject:
            file.seek(0)
            return np.load(file, allow_pickle=False)
        content = _unpickle(file, path.name, _ARRAYS | _TENSORS, encoding=encoding)
        return content[()] if shape == () and isinstance(content, np.ndarray) else content


def load_torch(path: str | pathlib.Path) -> Any:
    """Read what `torch.save` or Lightning wrote, zip container or the older stream of pickles.

    Tensors come on the CPU without gradient, parameters as tensors; a path comes as str; instances of
    Lightning's classes and argparse.Namespace as dictionaries of what the file stores for them; a class as
    its dotted name.

    Raises:
        UserError: the file is missing, damaged, or asks for anything that is not on the list.
    """
    path = pathlib.Path(path)
    with _one_line_errors(path), path.open("rb") as file:
        return _read_torch(file, path.name, _ARRAYS | _TENSORS | _LIGHTNING)


@contextlib.contextmanager
def _one_line_errors(path: pathlib.Path) -> Iterator[None]:
    """Turn what a missing, damaged or hostile file provokes into a `UserError` with the file's name."""
    try:
        yield
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # a damaged file can provoke nearly any of them
        reason = (str(error).strip() or type(error).__name__).split("\n")[0]
        raise UserError(f"{path.name} is damaged or not a file of this kind: {reason}") from error


def _unpickle(file: BinaryIO, file_name: str, builders: Mapping[str, Builder], *, encoding: str) -> Any:
    notes = RecordingUnpickler(file, file_name, builders, encoding).load()
    return Resolver(file_name, builders, {}).resolve(notes)


def _raw_bytes(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode("latin1")
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    raise pickle.UnpicklingError("an array's memory is not bytes")


def _array(raw: Any, dtype: Any, shape: Any, order: str) -> np.ndarray:
    """An array in native byte order, checked against the size of its memory."""
    shape = tuple(int(n) for n in shape)
    if not isinstance(dtype, np.dtype):
        raise pickle.UnpicklingError("an array without a number type")
    if dtype.hasobject:
        if not isinstance(raw, list) or len(raw) != math.prod(shape):
            raise pickle.UnpicklingError("an object array that does not hold its elements")
        flat = np.empty(len(raw), object)
        for i, element in enumerate(raw):
            flat[i] = element
    else:
        flat = np.frombuffer(_raw_bytes(raw), dtype).astype(dtype.newbyteorder("="))
    return flat.reshape(shape, order=order)


def _build_dtype(resolver: Resolver, note: Recorded) -> np.dtype:
    code = resolver.args(note, 1, 3)[0]
    state = resolver.resolve(note.state) or (3, "|", None, None, None)
    if (
        not re.fullmatch(r"[biufcSU]\d+|O8?|\?", str(code))
        or state[2:5] != (None, None, None)
        or state[1] not in "<>|="
    ):
        raise pickle.UnpicklingError(f"arrays of type {code} are not read")
    return np.dtype(code).newbyteorder(state[1])


def _build_ndarray(resolver: Resolver, note: Recorded) -> np.ndarray:
    if resolver.args(note, 3, 3)[0] not in ("numpy.ndarray", "numpy.matrix"):
        raise pickle.UnpicklingError("an array of an unknown class")
    state = resolver.resolve(note.state)
    shape, dtype, fortran_order, raw = state[-4:]
    return _array(raw, dtype, shape, "F" if fortran_order else "C")


def _build_buffer_array(resolver: Resolver, note: Recorded) -> np.ndarray:
    raw, dtype, shape, order = resolver.args(note, 4, 4)
    return _array(raw, dtype, shape, "F" if order == "F" else "C")


def _build_scalar(resolver: Resolver, note: Recorded) -> np.generic:
    dtype, raw = resolver.args(note, 2, 2)
    if dtype.hasobject:
        raise pickle.UnpicklingError("a scalar that is an object")
    return _array(raw, dtype, (), "C")[()]


def _build_reconstructed(resolver: Resolver, note: Recorded) -> Any:
    """copyreg's way of old protocols: class, base and base value in front, the state behind."""
    cls = note.args[0] if note.args else None
    if not (isinstance(cls, type) and issubclass(cls, Recorded)):
        raise pickle.UnpicklingError("an object of an unknown class")
    plain = cls()
    plain.state, plain.items, plain.appended = note.state, note.items, note.appended
    return resolver.resolve(plain)


def _build_sparse(resolver: Resolver, note: Recorded) -> Any:
    kind = note.name.split(".")[-1][:3]
    state = resolver.state(note)
    shape = state.get("_shape", state.get("shape"))
    if kind == "coo":
        where = state["coords"] if "coords" in state else (state["row"], state["col"])
        return scipy.sparse.coo_matrix((state["data"], tuple(where)), shape)
    build = {"csc": scipy.sparse.csc_matrix, "csr": scipy.sparse.csr_matrix}[kind]
    matrix = build((state["data"], state["indices"], state["indptr"]), shape)
    matrix.check_format(full_check=True)  # an index outside the shape would write to foreign memory later
    return matrix


def _build_chumpy(resolver: Resolver, note: Recorded) -> np.ndarray:
    state = resolver.state(note)
    if "x" in state:
        return np.asarray(state["x"])
    if "a" in state and "idxs" in state:  # chumpy.reordering: a selection of another array's elements
        picked = np.asarray(state["a"]).ravel()[np.asarray(state["idxs"], np.int64)]
        return (
            picked.reshape(state["preferred_shape"]) if state.get("preferred_shape") is not None else picked
        )
    raise UserError(
        f"{resolver.file_name} holds a {note.name} expression without its value: save it with chumpy's arrays"
        " converted to numpy first"
    )


def _container(build: Callable[..., Any]) -> Builder:
    """Builders of containers: their own argument, then what was set on them; attributes are dropped."""

    def builder(resolver: Resolver, note: Recorded) -> Any:
        args = resolver.args(note, 0, 1)
        if args and not isinstance(args[0], (list, tuple, set, frozenset, dict)):
            raise pickle.UnpicklingError(f"{note.name} of something that is not a container")
        filled = build(*args)
        for key, value in note.items:
            filled[resolver.resolve(key)] = resolver.resolve(value)
        return filled

    return builder


def _build_defaultdict(resolver: Resolver, note: Recorded) -> dict:
    return {resolver.resolve(key): resolver.resolve(value) for key, value in note.items}


def _build_encoded(resolver: Resolver, note: Recorded) -> bytes:
    text, encoding = resolver.args(note, 2, 2)
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1", "ascii", "utf-8"):
        raise pickle.UnpicklingError("bytes in an unknown encoding")
    return text.encode(encoding)


def _build_bytes(resolver: Resolver, note: Recorded) -> bytes:
    args = resolver.args(note, 0, 2)
    return _raw_bytes(args[0]) if args else b""


def _name_only(resolver: Resolver, note: Recorded) -> Any:
    raise pickle.UnpicklingError(f"{note.name} is called")


_ARRAYS: dict[str, Builder] = {
    "numpy.ndarray": _name_only,
    "numpy.matrix": _name_only,
    "numpy.dtype": _build_dtype,
    "numpy.core.multiarray._reconstruct": _build_ndarray,
    "numpy.core.multiarray.scalar": _build_scalar,
    "numpy.core.numeric._frombuffer": _build_buffer_array,
    **{
        f"scipy.sparse.{kind}_{of}": _build_sparse
        for kind in ("csc", "csr", "coo")
        for of in ("matrix", "array")
    },
    "chumpy.": _build_chumpy,
    "collections.OrderedDict": _container(OrderedDict),
    "_codecs.encode": _build_encoded,
    "copyreg._reconstructor": _build_reconstructed,
    "builtins.object": _name_only,
    "builtins.complex": lambda resolver, note: complex(*map(float, resolver.args(note, 2, 2))),
    "builtins.bytes": _build_bytes,
    "builtins.bytearray": _build_bytes,
    **{f"builtins.{cls.__name__}": _container(cls) for cls in (set, frozenset, list, tuple, dict)},
}

# PyTorch's containers

_STREAM_MAGIC, _STREAM_VERSION = 0x1950A86A20F9469CFC6C, 1001


def _read_torch(file: BinaryIO, file_name: str, builders: Mapping[str, Builder]) -> Any:
    if zipfile.is_zipfile(file):
        return _read_torch_zip(file, file_name, builders)
    file.seek(0)
    return _read_torch_stream(file, file_name, builders)


def _read_torch_zip(file: BinaryIO, file_name: str, builders: Mapping[str, Builder]) -> Any:
    """A zip with `*/data.pkl` and one member `*/data/KEY` for each storage."""
    with zipfile.ZipFile(file) as archive:
        members = {info.filename: info for info in archive.infolist()}
        program = [name for name in members if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(program) != 1:
            raise pickle.UnpicklingError("a zip file without PyTorch's data.pkl")
        prefix = program[0][: -len("data.pkl")]
        if f"{prefix}byteorder" in members and archive.read(f"{prefix}byteorder") != b"little":
            raise pickle.UnpicklingError("numbers in big-endian order are not read")
        unpickler = RecordingUnpickler(io.BytesIO(archive.read(program[0])), file_name, builders, "utf-8")
        notes = unpickler.load()
        memory = {}
        for key, storage in unpickler.storages.items():
            info = members[f"{prefix}data/{key}"]
            if info.file_size != storage.numel * storage.dtype.itemsize:
                raise pickle.UnpicklingError(
                    f"storage {key} has {info.file_size} bytes, not what its tensor needs"
                )
            memory[key] = _typed_memory(archive.read(info), storage.dtype)
    return Resolver(file_name, builders, memory).resolve(notes)


def _read_torch_stream(file: BinaryIO, file_name: str, builders: Mapping[str, Builder]) -> Any:
    """PyTorch before 1.6: magic, version, system, content, storage keys, each a pickle; then the storages."""

    def unpickler() -> RecordingUnpickler:
        return RecordingUnpickler(file, file_name, builders, "utf-8")

    if (unpickler().load(), unpickler().load()) != (_STREAM_MAGIC, _STREAM_VERSION):
        raise pickle.UnpicklingError("neither of PyTorch's two containers")
    system = unpickler().load()
    if not (isinstance(system, dict) and system.get("little_endian", True)):
        raise pickle.UnpicklingError("numbers in big-endian order are not read")
    content = unpickler()
    notes = content.load()
    memory = {}
    for key in unpickler().load():
        storage = content.storages[key]
        (numel,) = struct.unpack("<q", file.read(8))
        if numel != storage.numel:
            raise pickle.UnpicklingError(f"storage {key} has {numel} numbers, not {storage.numel}")
        memory[key] = _typed_memory(file.read(numel * storage.dtype.itemsize), storage.dtype)
    return Resolver(file_name, builders, memory).resolve(notes)


def _typed_memory(raw: bytes, dtype: torch.dtype) -> torch.Tensor:
    return torch.frombuffer(bytearray(raw), dtype=dtype) if raw else torch.empty(0, dtype=dtype)


def _build_tensor(resolver: Resolver, note: Recorded) -> torch.Tensor:
    storage, offset, size, stride = resolver.args(note, 4, 7)[:4]
    if not isinstance(storage, torch.Tensor):
        raise pickle.UnpicklingError("a tensor without memory")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    in_memory = (
        offset >= 0 and min((*size, *stride), default=0) >= 0 and (0 in size or last < storage.numel())
    )
    if not in_memory:
        raise pickle.UnpicklingError("a tensor reaches outside its memory")
    return storage.as_strided(tuple(size), tuple(stride), offset)


def _build_nested_storage(resolver: Resolver, note: Recorded) -> torch.Tensor:
    raw = _raw_bytes(resolver.args(note, 1, 1)[0])
    return _read_torch(io.BytesIO(raw), resolver.file_name, resolver.builders)


def _build_path(resolver: Resolver, note: Recorded) -> str:
    parts = [str(part) for part in resolver.args(note, 0, 99)]
    windows = "Windows" in note.name
    return str(pathlib.PureWindowsPath(*parts) if windows else pathlib.PurePosixPath(*parts))


def _build_settings(resolver: Resolver, note: Recorded) -> Any:
    """An instance of a class that we do not have: what was set on it; of an enumeration its value."""
    content = dict(resolver.state(note))
    content.update((resolver.resolve(key), resolver.resolve(value)) for key, value in note.items)
    args = [resolver.resolve(x) for x in note.args]
    if len(args) == 1 and not content:
        return args[0]
    return content


_TENSORS: dict[str, Builder] = {
    **dict.fromkeys(STORAGE_DTYPES, _name_only),
    "torch._utils._rebuild_tensor": _build_tensor,
    "torch._utils._rebuild_tensor_v2": _build_tensor,
    "torch._utils._rebuild_parameter": lambda resolver, note: resolver.args(note, 2, 3)[0],
    "torch.storage._load_from_bytes": _build_nested_storage,
    "torch.Size": _container(tuple),
    "torch.device": lambda resolver, note: ":".join(str(x) for x in resolver.args(note, 1, 2)),
}
_LIGHTNING: dict[str, Builder] = {
    "pytorch_lightning.": _build_settings,
    "lightning.": _build_settings,
    "lightning_fabric.": _build_settings,
    "argparse.Namespace": _build_settings,
    "collections.Counter": _container(Counter),
    "collections.defaultdict": _build_defaultdict,
    **{
        f"pathlib.{kind}{system}Path": _build_path
        for kind in ("", "Pure")
        for system in ("", "Posix", "Windows")
        if kind or system
    },
}
