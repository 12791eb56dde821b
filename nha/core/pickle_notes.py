"""Run a pickle's opcodes without running anything that the file names, and build its content afterwards.

A pickle is a program: it names callables and calls them. Here no callable that a file names is ever handed
to the unpickler. Every name that the caller has a builder for becomes a `Recorded` class, which only notes
what the file would have passed to it; any other name is refused on the spot. Once the program has ended,
`Resolver` turns the notes into arrays, tensors and plain containers with the caller's builders, which check
as they go.
Which names there are is in `nha.core.safe_pickle`.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

import torch

from nha.core.errors import UserError

STORAGE_DTYPES = {
    "torch.FloatStorage": torch.float32,
    "torch.DoubleStorage": torch.float64,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16,
    "torch.CharStorage": torch.int8,
    "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
    "torch.ComplexFloatStorage": torch.complex64,
    "torch.ComplexDoubleStorage": torch.complex128,
}


class Recorded:
    """What a file asks to be called or built, kept as a note: nothing runs. One subclass for each name."""

    __slots__ = ("appended", "args", "items", "state")
    name = ""

    def __new__(cls, *args: Any, **kwargs: Any) -> Recorded:
        note = object.__new__(cls)
        note.args, note.state, note.items, note.appended = args, None, [], []
        return note

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items.append((key, value))

    def append(self, value: Any) -> None:
        self.appended.append(value)


class StorageReference:
    """A reference to a tensor's memory elsewhere in the file."""

    __slots__ = ("dtype", "key", "numel", "view")

    def __init__(self, dtype: torch.dtype, key: str, numel: int, view: tuple[int, int] | None):
        self.dtype, self.key, self.numel, self.view = dtype, key, numel, view  # view = (offset, length)


Builder = Callable[["Resolver", Recorded], Any]


class RecordingUnpickler(pickle.Unpickler):
    """Runs a pickle's opcodes with `Recorded` classes in place of everything that the file names."""

    def __init__(self, file: BinaryIO, file_name: str, builders: Mapping[str, Builder], encoding: str):
        super().__init__(file, encoding=encoding)
        self._file_name, self._builders, self._classes = file_name, builders, {}
        self.storages: dict[str, StorageReference] = {}

    def find_class(self, module: str, name: str) -> type[Recorded]:
        dotted = _modern_name(f"{module}.{name}")
        if _builder_for(dotted, self._builders) is None:
            raise UserError(
                f"{self._file_name} asks for {dotted}: refused, such a file holds arrays and settings"
                " only (nothing was run; get the file from its publisher)"
            )
        if dotted not in self._classes:
            self._classes[dotted] = type("Recorded", (Recorded,), {"__slots__": (), "name": dotted})
        return self._classes[dotted]

    def persistent_load(self, pid: Any) -> StorageReference:
        if not (isinstance(pid, tuple) and len(pid) in (5, 6) and pid[0] == "storage"):
            raise pickle.UnpicklingError("refers to an object outside the file")
        dtype = STORAGE_DTYPES.get(getattr(pid[1], "name", ""))
        view = pid[5] if len(pid) == 6 else None
        if dtype is None or not isinstance(pid[2], str) or not isinstance(pid[4], int):
            raise pickle.UnpicklingError("bad reference to a tensor's memory")
        storage = StorageReference(
            dtype, pid[2], pid[4], None if view is None else (int(view[1]), int(view[2]))
        )
        self.storages[storage.key] = storage
        return storage


def _modern_name(dotted: str) -> str:
    """One spelling for what Python 2, old numpy and old scipy call by other names."""
    for old, new in (
        ("__builtin__.", "builtins."),
        ("copy_reg.", "copyreg."),
        ("numpy._core.", "numpy.core."),
    ):
        if dotted.startswith(old):
            dotted = new + dotted[len(old) :]
    dotted = re.sub(r"^pathlib\._local\.", "pathlib.", dotted)
    dotted = re.sub(r"^torch\.cuda\.(\w+Storage)$", r"torch.\1", dotted)
    return re.sub(r"^scipy\.sparse\._?(csc|csr|coo)\.", "scipy.sparse.", dotted)


def _builder_for(dotted: str, builders: Mapping[str, Builder]) -> Builder | None:
    """The exact name, or else the package (entries that end in a dot)."""
    return builders.get(dotted) or builders.get(dotted.split(".")[0] + ".")


class Resolver:
    """Turns notes into arrays, tensors and plain containers."""

    def __init__(self, file_name: str, builders: Mapping[str, Builder], memory: Mapping[str, torch.Tensor]):
        self.file_name, self.builders, self.memory = (
            file_name,
            builders,
            memory,
        )  # memory: storage key -> [numel]
        self._done: dict[int, Any] = {}
        self._alive: list[Any] = []  # keeps the notes, so that an id is never used twice
        self._open: set[int] = set()

    def resolve(self, note: Any) -> Any:
        if not isinstance(note, (Recorded, StorageReference, list, dict, tuple, set, frozenset)):
            return note.name if isinstance(note, type) and issubclass(note, Recorded) else note
        key = id(note)
        if key in self._done:
            return self._done[key]
        self._alive.append(note)
        if isinstance(note, (list, dict)):  # in place: these two may contain themselves
            self._done[key] = note
            self._fill(note)
            return note
        if key in self._open:
            raise pickle.UnpicklingError("an object contains itself")
        self._open.add(key)
        self._done[key] = self._build(note)
        self._open.discard(key)
        return self._done[key]

    def _fill(self, container: list | dict) -> None:
        if isinstance(container, list):
            container[:] = [self.resolve(x) for x in container]
        else:
            pairs = [(self.resolve(k), self.resolve(v)) for k, v in container.items()]
            container.clear()
            container.update(pairs)

    def _build(self, note: Any) -> Any:
        if isinstance(note, Recorded):
            return _builder_for(note.name, self.builders)(self, note)
        if isinstance(note, StorageReference):
            start, length = note.view or (0, note.numel)
            return self.memory[note.key][start : start + length]
        return type(note)(self.resolve(x) for x in note)

    def args(self, note: Recorded, least: int, most: int) -> list[Any]:
        if not least <= len(note.args) <= most:
            raise pickle.UnpicklingError(f"{note.name} is given {len(note.args)} values")
        return [self.resolve(x) for x in note.args]

    def state(self, note: Recorded) -> dict[str, Any]:
        state = self.resolve(note.state)
        if isinstance(state, tuple) and len(state) == 2:  # (attributes, slots)
            state = {**(state[0] or {}), **(state[1] or {})}
        if state is not None and not isinstance(state, dict):
            raise pickle.UnpicklingError(f"{note.name} has a state that is not understood")
        return state or {}
