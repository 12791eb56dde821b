"""A reader for PyTorch's checkpoints that never runs code from the file: `torch.load(weights_only=True)`.

Lightning stores more than that loader accepts by itself: paths, `argparse.Namespace`, its own `AttributeDict` and
classes as keys, and numpy scalars. They are replaced by plain types.
"""

from __future__ import annotations

import pathlib
import zipfile
from typing import Any, BinaryIO

import torch
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from nha.core.pickle_limits import check_torch_file
from nha.core.safe_pickle import CONTAINERS, NUMPY, Function, StandIn, attributes, named, resolve
from nha.core.untrusted_file import forbidden_name, open_untrusted

_LIGHTNING_PACKAGES = ("pytorch_lightning", "lightning", "lightning_fabric")


def load_torch(path: str | pathlib.Path) -> Any:
    """Read a file written by `torch.save` or Lightning.

    Args:
        path: a checkpoint in PyTorch's zip format or its earlier format.

    Returns:
        The content of the file: tensors on the CPU without gradient, parameters as tensors, paths and devices as
        str, `argparse.Namespace` and instances of Lightning's classes as dictionaries of their attributes, classes
        as their dotted names.

    Raises:
        UserError: the file is missing, damaged, or refers to anything except the supported types.
    """
    with open_untrusted(path) as file, safe_globals(_STAND_INS):
        check_torch_file(file)
        with safe_globals(_lightning_stand_ins(file)):
            content = torch.load(file, map_location="cpu", weights_only=True)
    return resolve(content)


def _lightning_stand_ins(file: BinaryIO) -> list[tuple[Any, str]]:
    """Stand-ins for the names of Lightning in a checkpoint; raises for any other unsupported name."""
    is_zip = zipfile.is_zipfile(file)
    file.seek(0)
    if not is_zip:
        return []  # PyTorch's earlier format: network weights, not Lightning's files
    stand_ins = []
    for name in get_unsafe_globals_in_checkpoint(file):
        if name.split(".")[0] not in _LIGHTNING_PACKAGES:
            raise forbidden_name(name)
        is_dict = name.endswith(".AttributeDict")
        stand_ins.append((named(_Dictionary if is_dict else _Attributes, name), name))
    file.seek(0)
    return stand_ins


class _Attributes(StandIn):
    """An object as a dictionary of its attributes, or an enumeration's member as its value."""

    def __init__(self, value: Any = None) -> None:
        self.value = value

    def __setstate__(self, state: Any) -> None:
        self.value = attributes(state)


class _Dictionary(StandIn):
    """A subclass of dict. Its instances are plain because `torch.load` adds items to no other dictionaries."""

    def __new__(cls, *_: Any) -> dict[Any, Any]:  # type: ignore[misc]
        return {}


def _path(kind: type[pathlib.PurePath]) -> Function:
    return Function(lambda *parts: str(kind(*map(str, parts))))


_PATHS = {
    f"{module}.{prefix}{name}": _path(kind)
    for module in ("pathlib", "pathlib._local")  # before and since Python 3.13
    for prefix in ("", "Pure")
    for name, kind in (
        ("Path", pathlib.PurePosixPath),
        ("PosixPath", pathlib.PurePosixPath),
        ("WindowsPath", pathlib.PureWindowsPath),
    )
}
_STAND_INS = [
    (stand_in, name)
    for name, stand_in in {
        **CONTAINERS,
        **NUMPY,
        **_PATHS,
        "argparse.Namespace": _Attributes,
        "collections.defaultdict": Function(lambda *_: {}),
    }.items()
]
