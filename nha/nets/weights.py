"""Published weight files: read without running anything that they name, loaded strictly, refused in one line."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from nha.core.errors import UserError


def load_weights(net: nn.Module, path: str | Path, origin: str) -> None:
    """Fill a network from a file that holds its state dict, every tensor by name and shape.

    origin: where the right file comes from, for messages. Raises UserError for a file that is missing, damaged or
    asks for anything but tensors, and for one whose tensors are not the network's (the first is named).
    """
    state = read_state_dict(path, origin)
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(f"'{path}' does not fit: {_mismatch(net, state, error)}; {advice(origin)}") from None


def read_state_dict(path: str | Path, origin: str) -> dict[str, Tensor]:
    """Read a plain state dict onto the CPU. Raises UserError as `load_weights` does."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"'{path}' is not there; {advice(origin)}") from None
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise UserError(f"cannot read weights from '{path}' ({reason}); {advice(origin)}") from None
    if not (isinstance(state, Mapping) and all(isinstance(tensor, Tensor) for tensor in state.values())):
        raise UserError(f"'{path}' holds no state dict (tensors by name); {advice(origin)}")
    return dict(state)


def accept_unused(net: nn.Module, pattern: str) -> None:
    """Let `load_state_dict` take tensors whose whole name matches a pattern, and drop them.

    For parts of a published network that only its training used.
    """
    unused = re.compile(pattern)

    def drop(module, state_dict, prefix, *_) -> None:
        for name in [n for n in state_dict if unused.fullmatch(n.removeprefix(prefix))]:
            del state_dict[name]

    net.register_load_state_dict_pre_hook(drop)


def advice(origin: str) -> str:
    """What to do about a file that is missing or wrong."""
    return f"put {origin} there"


def _mismatch(net: nn.Module, state: Mapping[str, Tensor], error: RuntimeError) -> str:
    """The first tensor that is missing or of another shape, else the first that the network does not have."""
    wanted = net.state_dict()
    for name, tensor in wanted.items():
        if name not in state:
            return f"'{name}' is missing"
        if state[name].shape != tensor.shape:
            return f"'{name}' is {list(state[name].shape)} instead of {list(tensor.shape)}"
    unexpected = re.search(r'Unexpected key\(s\) in state_dict: "([^"]+)"', str(error))
    if unexpected:
        return f"'{unexpected[1]}' is not a tensor of this network"
    return str(error).splitlines()[-1].strip()
