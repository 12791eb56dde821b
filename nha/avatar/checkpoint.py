"""Avatar checkpoints: the file format, and reading of all its versions, of training states and of published files.

A file of format version 2 is written by `torch.save` from a dictionary of plain types and tensors:

    format, format_version   "nha-avatar", 2
    state_dict               the tensors of `NeuralHeadAvatar.state_dict()`
    hyper_parameters         the settings of the training, flat, plain types
    head_model               name and checksums of the head model (see `nha.avatar.head_record`)
    networks                 class names of networks that replace the published ones
    trained_on               shape, split and files of the training (see `nha.avatar.training_record`)
    published_head_tables    tables of a published checkpoint that was converted; absent otherwise

`torch.load(path, weights_only=True)` opens it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from nha.avatar.published_layout import is_published, published_content, split_published
from nha.core.errors import UserError
from nha.core.finite import non_finite_names
from nha.core.system import atomic_path
from nha.core.torch_file import load_torch
from nha.data.messages import some_of

AVATAR_FILE = "avatar.ckpt"
FORMAT = "nha-avatar"
FORMAT_VERSION = 2
INFINITE_UNTIL_MEASURED = ("condition_ranges.", "drive.")  # ranges, which clip nothing at first
_VERSION_1 = "nha-avatar-1"  # `format` of the first version, which had no `format_version`
_TABLES_1 = "published_head."  # prefix of the head model's tables in its state


@dataclass(frozen=True)
class AvatarCheckpoint:
    """The content of an avatar's checkpoint.

    Attributes:
        state: tensors under the names of `NeuralHeadAvatar.state_dict()`.
        hyper_parameters: the settings of the training, plain types only.
        head_model: name and checksums of the head model, {} where they were not recorded.
        networks: attribute of the avatar -> class name, for networks that replace the published ones.
        published_head_tables: tables of the head model in a published file, {} otherwise.
        trained_on: shape, split and files of the training, {} where they were not recorded.
    """

    state: dict[str, Tensor]
    hyper_parameters: dict[str, Any] = field(default_factory=dict)
    head_model: dict[str, Any] = field(default_factory=dict)
    networks: dict[str, str] = field(default_factory=dict)
    published_head_tables: dict[str, Tensor] = field(default_factory=dict)
    trained_on: dict[str, Any] = field(default_factory=dict)


def read_checkpoint(path: str | Path) -> AvatarCheckpoint:
    """Read an avatar of this project or of the published code. Nothing in the file is executed.

    The state of a training run is read too; tensors of its loss networks are left out. A folder stands for the
    `avatar.ckpt` in it.

    Raises:
        UserError: the file is missing, damaged, of a newer format, or not an avatar.
    """
    path = checkpoint_file(path)
    content = load_torch(path)
    state = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{path.name} has no state_dict of tensors: it is not an avatar checkpoint")
    version = content.get("format_version", 1)
    if content.get("format") == FORMAT and version != FORMAT_VERSION:
        raise UserError(
            f"{path.name} has format version {version}, this program reads versions up to {FORMAT_VERSION}; "
            "update the program"
        )
    state = {_without_wrappers(name): value for name, value in state.items()}
    trained = {name.removeprefix("avatar."): x for name, x in state.items() if name.startswith("avatar.")}
    state = trained or dict(state)  # a training run's checkpoint holds the avatar among other modules
    hyper_parameters = dict(content.get("hyper_parameters") or {})
    if is_published(state):
        state, tables = split_published(state)
        _require_finite(state, path.name)
        trained_on = dict(content.get("trained_on") or {})
        return AvatarCheckpoint(state, hyper_parameters, published_head_tables=tables, trained_on=trained_on)
    if offset_rows(state) is None:
        raise UserError(f"{path.name} holds weights, but not those of an avatar (no vertex offsets)")
    _require_finite(state, path.name)
    if content.get("format") == _VERSION_1:
        return _from_version_1(state, hyper_parameters)
    parts = ("head_model", "networks", "published_head_tables", "trained_on")
    return AvatarCheckpoint(state, hyper_parameters, *(dict(content.get(part) or {}) for part in parts))


def checkpoint_file(path: str | Path) -> Path:
    """The checkpoint that a path names: the file, or `avatar.ckpt` in a folder.

    Raises:
        UserError: there is nothing at the path, or a folder without one; the message names the checkpoints that it
            holds.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(
            f"checkpoint '{path}' does not exist; name another, or train an avatar with `nha train`"
        )
    if not path.is_dir():
        return path
    if (path / AVATAR_FILE).is_file():
        return path / AVATAR_FILE
    others = sorted(file.name for file in path.glob("*.ckpt"))
    found = (
        f"it holds {', '.join(others[:4])}; name one of them"
        if others
        else "train an avatar with `nha train`"
    )
    raise UserError(f"the folder '{path}' has no {AVATAR_FILE}: {found}")


def _without_wrappers(name: str) -> str:
    """A tensor's name without what `torch.compile` and wrappers for several devices add to it."""
    return name.removeprefix("module.").replace("_orig_mod.", "").removeprefix("module.")


def write_checkpoint(
    path: str | Path, checkpoint: AvatarCheckpoint, *, layout: Literal["nha", "published"] = "nha"
) -> None:
    """Write an avatar atomically; `torch.load(path, weights_only=True)` opens the file.

    Args:
        path: the file.
        checkpoint: its hyper-parameters become plain types (paths become str).
        layout: "nha" for the format of this module, "published" for a file that the published code opens.

    Raises:
        TypeError: a hyper-parameter has no plain type.
        UserError: layout "published" for an avatar with networks that the published code does not have.
    """
    state = {name: value.detach().cpu().contiguous() for name, value in checkpoint.state.items()}
    _require_finite(state, "the avatar that was to be written")
    hyper_parameters = _plain(checkpoint.hyper_parameters)
    if layout == "published":
        if checkpoint.networks:
            named = ", ".join(f"{part} {name}" for part, name in checkpoint.networks.items())
            raise UserError(f"the published code cannot open an avatar with other networks ({named})")
        content = published_content(state, checkpoint.published_head_tables, hyper_parameters)
    else:
        content = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "state_dict": state,
            "hyper_parameters": hyper_parameters,
            "head_model": _plain(checkpoint.head_model),
            "networks": dict(checkpoint.networks),
        }
        if checkpoint.published_head_tables:
            content["published_head_tables"] = dict(checkpoint.published_head_tables)
    if checkpoint.trained_on:
        content["trained_on"] = _plain(checkpoint.trained_on)
    with atomic_path(path) as temporary:
        torch.save(content, temporary)


def load_state(avatar: nn.Module, checkpoint: AvatarCheckpoint) -> None:
    """Load a checkpoint's tensors into an avatar of the same sizes.

    Raises:
        UserError: names or shapes differ; the first few are listed.
    """
    theirs, own = checkpoint.state, avatar.state_dict()
    wrong = [f"{name} is missing" for name in own if name not in theirs]
    wrong += [f"{name} is not part of this avatar" for name in theirs if name not in own]
    wrong += [
        f"{name} is {list(theirs[name].shape)}, not {list(own[name].shape)}"
        for name in own
        if name in theirs and theirs[name].shape != own[name].shape
    ]
    if wrong:
        raise UserError(
            f"the checkpoint does not fit this avatar (another head model or other network sizes?):"
            f" {'; '.join(wrong[:3])}{f' and {len(wrong) - 3} more' if len(wrong) > 3 else ''}"
        )
    avatar.load_state_dict(theirs)


def _require_finite(state: Mapping[str, Tensor], what: str) -> None:
    """Raise UserError for NaN, and for infinity outside of ranges that were not measured yet."""
    if bad := non_finite_names(state, INFINITE_UNTIL_MEASURED):
        raise UserError(
            f"{what} holds values that are not finite ({some_of(bad, 3)}): its training diverged; train it again with "
            "lower learning rates"
        )


def offset_rows(state: Mapping[str, Tensor]) -> int | None:
    """The number of vertices with offsets in an avatar's state of either model; None for another state."""
    if "vertex_features" in state:
        return state["vertex_features"].shape[1]
    return len(state["static_offsets"]) if "static_offsets" in state else None


def _from_version_1(state: dict[str, Tensor], hyper_parameters: dict[str, Any]) -> AvatarCheckpoint:
    tables = {
        name.removeprefix(_TABLES_1): value for name, value in state.items() if name.startswith(_TABLES_1)
    }
    own = {name: value for name, value in state.items() if not name.startswith(_TABLES_1)}
    head_model = dict(hyper_parameters.pop("head_model", None) or {})
    if derived := hyper_parameters.pop("derived_head_tables", None):
        head_model["derived"] = list(derived)
    return AvatarCheckpoint(own, hyper_parameters, head_model, published_head_tables=tables)


def _plain(value: Any) -> Any:
    """A setting as plain types, which `torch.load(weights_only=True)` accepts."""
    if value is None or isinstance(value, (bool, int, float, str)) and type(value).__module__ == "builtins":
        return value
    if isinstance(value, (Path, str)):
        return str(value)
    if isinstance(value, (np.generic, np.ndarray)):
        return _plain(value.tolist())
    if dataclasses.is_dataclass(value):
        return _plain({field.name: getattr(value, field.name) for field in dataclasses.fields(value)})
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    raise TypeError(f"a hyper-parameter of type {type(value).__name__} cannot be stored")
