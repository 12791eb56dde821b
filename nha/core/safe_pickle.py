"""A reader for pickles of arrays that never runs code from the file.

FLAME's model files are pickles of numpy arrays, scipy matrices, chumpy arrays and plain containers. They are read
by Python's unpickler with every name in the file replaced by a stand-in from this module, which checks the values
that it is given. A name without a stand-in raises `UserError`. All stand-ins define `__setstate__`, so that a file
cannot set attributes on them. Checkpoints of PyTorch are read by `nha.core.torch_file`.
"""

from __future__ import annotations

import io
import math
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import scipy.sparse
import torch

from nha.core.pickle_limits import check_pickle, check_torch_file
from nha.core.untrusted_file import RejectedFileError, forbidden_name, open_untrusted

_PYTHON_2_MODULES = {"__builtin__": "builtins", "copy_reg": "copyreg"}


def load_pickle(path: str | Path) -> Any:
    """Read a pickle of arrays, sparse matrices and plain containers (FLAME's `generic_model.pkl`).

    Args:
        path: a pickle of any protocol. 8-bit strings of Python 2 are decoded as Latin-1.

    Returns:
        The content of the file, with chumpy arrays as numpy arrays and numbers in native byte order.

    Raises:
        UserError: the file is missing, damaged, or refers to anything except the supported types.
    """
    with open_untrusted(path, "a pickle") as file:
        return _unpickle(file)


def load_npy(path: str | Path) -> Any:
    """Read a .npy file, including object arrays (FLAME's landmark embedding).

    Args:
        path: a .npy file.

    Returns:
        The array; for an object array without dimensions its only element. Tensors in it stay tensors.

    Raises UserError as `load_pickle` does.
    """
    with open_untrusted(path, "an array") as file:
        version = np.lib.format.read_magic(file)
        read_header = getattr(np.lib.format, f"read_array_header_{version[0]}_{version[1]}")
        shape, _, dtype = read_header(file)
        if not dtype.hasobject:
            file.seek(0)
            return np.load(file, allow_pickle=False)
        content = _unpickle(file)
        return content[()] if shape == () and isinstance(content, np.ndarray) else content


def _unpickle(file: BinaryIO) -> Any:
    start = file.tell()
    check_pickle(file)
    file.seek(start)
    return resolve(_SafeUnpickler(file, encoding="latin1").load())


class _SafeUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        full_name = f"{_PYTHON_2_MODULES.get(module, module)}.{name}"
        if module.split(".")[0] == "chumpy":
            return named(_Chumpy, full_name)
        if full_name not in _STAND_INS:
            raise forbidden_name(full_name)
        return _STAND_INS[full_name]


class StandIn:
    """An object that a file may create. `value` is what `resolve` puts in its place."""

    name = ""

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("the file sets the state of an object that has none")


class Function:
    """A function that a file may call."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("the file sets attributes of a function")


def named(stand_in: type[StandIn], name: str) -> type[StandIn]:
    """A stand-in for the class with this dotted name."""
    return type(stand_in.__name__, (stand_in,), {"name": name})


def resolve(content: Any, done: dict[int, tuple[Any, Any]] | None = None) -> Any:
    """Replace stand-ins by their values, classes and devices by their names, and detach tensors.

    Lists and dictionaries are changed in place because they may contain themselves. `done` is used by the recursion:
    the id of an object -> the object, which keeps the id in use, and its replacement.
    """
    done = {} if done is None else done
    if id(content) in done:
        return done[id(content)][1]
    if isinstance(content, (list, dict)):
        done[id(content)] = content, content
        if isinstance(content, list):
            content[:] = [resolve(item, done) for item in content]
        else:
            items = [(resolve(key, done), resolve(item, done)) for key, item in content.items()]
            content.clear()
            content.update(items)
        return content
    if isinstance(content, StandIn):
        plain = resolve(content.value, done)
    elif isinstance(content, type) and issubclass(content, StandIn):
        plain = content.name
    elif isinstance(content, torch.device):
        plain = str(content)
    elif isinstance(content, torch.Tensor):
        plain = content.detach()
    elif isinstance(content, np.ndarray) and content.dtype.hasobject:
        plain = _object_array([resolve(item, done) for item in content.ravel()]).reshape(content.shape)
    elif isinstance(content, tuple):
        plain = tuple(resolve(item, done) for item in content)
    else:
        plain = content
    done[id(content)] = content, plain
    return plain


def attributes(state: Any) -> dict[str, Any]:
    """The attributes in an object's pickled state, or a pair of attributes and slots; stand-ins as their values."""
    if isinstance(state, tuple) and len(state) == 2:
        state = {**(state[0] or {}), **(state[1] or {})}
    if not isinstance(state, dict):
        raise pickle.UnpicklingError("an object's state is not a dictionary")
    return {name: item.value if isinstance(item, StandIn) else item for name, item in state.items()}


class _Dtype(StandIn):
    def __init__(self, code: Any, *_: Any) -> None:
        if not re.fullmatch(r"[biufcSU]\d+|O8?|\?", str(code)):
            raise pickle.UnpicklingError(f"arrays of type {code} are not read")
        self.value = np.dtype(str(code))

    def __setstate__(self, state: Any) -> None:
        if state[1] not in ("<", ">", "|", "=") or state[2:5] != (None, None, None):
            raise pickle.UnpicklingError("arrays with fields are not read")
        self.value = self.value.newbyteorder(state[1])


class _Array(StandIn):
    def __new__(cls, *args: Any) -> _Array:
        if args:
            raise pickle.UnpicklingError("an array without content")
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        shape, dtype, fortran_order, raw = state[-4:]
        self.value = _array(raw, dtype, shape, "F" if fortran_order else "C")


def _array(raw: Any, dtype: Any, shape: Any, order: str = "C") -> np.ndarray:
    """An array in native byte order; numpy checks that its memory has the right size."""
    dtype = getattr(dtype, "value", None)
    if not isinstance(dtype, np.dtype):
        raise pickle.UnpicklingError("an array without a data type")
    if not dtype.hasobject:
        flat = np.frombuffer(_bytes(raw), dtype).astype(dtype.newbyteorder("="))
    elif isinstance(raw, list) and len(raw) == math.prod(shape):
        flat = _object_array(raw)
    else:
        raise pickle.UnpicklingError("an object array without its elements")
    return flat.reshape(shape, order="F" if order == "F" else "C")


def _object_array(items: list[Any]) -> np.ndarray:
    array = np.empty(len(items), object)
    for i, item in enumerate(items):  # numpy would copy the elements of sequences with array[:] = items
        array[i] = item
    return array


def _bytes(raw: Any = b"", encoding: str = "latin1") -> bytes:
    if isinstance(raw, str) and encoding in ("latin1", "latin-1", "ascii", "utf-8"):
        raw = raw.encode(encoding)
    if isinstance(raw, (bytes, bytearray)):
        return bytes(raw)
    raise pickle.UnpicklingError("bytes of a wrong type")


class _Sparse(StandIn):
    matrix: Any = None

    def __setstate__(self, state: Any) -> None:
        state = attributes(state)
        shape = state.get("_shape", state.get("shape"))
        self.value = self.matrix((state["data"], state["indices"], state["indptr"]), shape)
        self.value.check_format(full_check=True)  # an index outside the shape would corrupt memory later


class _Chumpy(StandIn):
    """A chumpy array, or a selection of another array's elements (`chumpy.reordering`)."""

    def __setstate__(self, state: Any) -> None:
        state = attributes(state)
        if "x" in state:
            self.value = _numbers(state["x"])
        elif "a" in state and "idxs" in state:
            self.value = _numbers(state["a"]).ravel()[_numbers(state["idxs"]).astype(np.int64)]
            if state.get("preferred_shape") is not None:
                self.value = self.value.reshape(state["preferred_shape"])
        else:
            raise RejectedFileError(
                f"holds a {self.name} expression without its value; save it with numpy arrays instead of chumpy's"
            )


def _numbers(value: Any) -> np.ndarray:
    """An array or a number as an array; nested lists are refused, because shared ones would be copied endlessly."""
    if isinstance(value, (np.ndarray, np.generic, int, float)):
        return np.asarray(value)
    raise pickle.UnpicklingError("a chumpy array that holds no array")


def _empty_object(cls: Any, *_: Any) -> StandIn:
    """`numpy._reconstruct` and `copyreg._reconstructor`: an object that gets its state afterwards."""
    if not (isinstance(cls, type) and issubclass(cls, StandIn)):
        raise pickle.UnpicklingError("an object of an unknown class")
    return cls()


def _tensor(storage: Any, offset: int, size: tuple, stride: tuple, *_: Any) -> torch.Tensor:
    if not isinstance(storage, (torch.storage.TypedStorage, torch.storage.UntypedStorage)):
        raise pickle.UnpicklingError("a tensor without memory")
    return torch._utils._rebuild_tensor(storage, offset, size, stride)  # checks the bounds


def _storage(raw: Any) -> Any:
    content = io.BytesIO(_bytes(raw))
    check_torch_file(content)
    return torch.load(content, map_location="cpu", weights_only=True)


def _container(build: Callable[..., Any]) -> Function:
    def checked(content: Any = ()) -> Any:
        if not isinstance(content, (list, tuple, set, frozenset, dict)):
            raise pickle.UnpicklingError("a container of something that is not a container")
        return build(content)

    return Function(checked)


CONTAINERS = {f"builtins.{cls.__name__}": _container(cls) for cls in (set, frozenset, list, tuple, dict)}

NUMPY: dict[str, Any] = {"numpy.ndarray": _Array, "numpy.matrix": _Array, "numpy.dtype": _Dtype}
for _core in ("numpy.core", "numpy._core"):  # before and since numpy 2
    NUMPY |= {
        f"{_core}.multiarray._reconstruct": Function(_empty_object),
        f"{_core}.multiarray.scalar": Function(lambda dtype, raw: _array(raw, dtype, ())[()]),
        f"{_core}.numeric._frombuffer": Function(_array),
    }

_SPARSE: dict[str, Any] = {}
for _kind, _matrix in (("csc", scipy.sparse.csc_matrix), ("csr", scipy.sparse.csr_matrix)):
    _class = type(_kind, (_Sparse,), {"matrix": _matrix})
    _SPARSE |= {f"scipy.sparse.{_module}.{_kind}_matrix": _class for _module in (_kind, f"_{_kind}")}

_STAND_INS: dict[str, Any] = {
    **CONTAINERS,
    **NUMPY,
    **_SPARSE,
    "builtins.bytes": Function(_bytes),
    "builtins.bytearray": Function(_bytes),
    "builtins.complex": Function(lambda real, imaginary: complex(float(real), float(imaginary))),
    "builtins.object": StandIn,
    "_codecs.encode": Function(_bytes),
    "copyreg._reconstructor": Function(_empty_object),
    "collections.OrderedDict": _container(OrderedDict),
    "torch._utils._rebuild_tensor": Function(_tensor),
    "torch._utils._rebuild_tensor_v2": Function(_tensor),
    "torch.storage._load_from_bytes": Function(_storage),
}
