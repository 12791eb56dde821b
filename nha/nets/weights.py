"""Frozen networks with published weights, and their weight files.

Files are read without executing anything that they contain, and loaded strictly.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from nha.core.errors import UserError
from nha.core.torch_file import load_torch


class FrozenNet(nn.Module):
    """A network that is never trained: no gradients for its weights, always in evaluation mode."""

    def freeze(self, unused: str = "") -> None:
        """Freeze the network; call it at the end of `__init__`.

        Args:
            unused: pattern that a whole name must match; `load_state_dict` drops tensors with such names. For parts
                of a published network that only its training uses.
        """
        self.requires_grad_(False)
        self.eval()
        dropped = re.compile(unused)

        def drop(module, state_dict, prefix, *_) -> None:
            for name in [name for name in state_dict if dropped.fullmatch(name.removeprefix(prefix))]:
                del state_dict[name]

        self.register_load_state_dict_pre_hook(drop)

    def train(self, mode: bool = True) -> FrozenNet:
        """Stay in evaluation mode, so that a trainer does not update the batch-norm statistics."""
        return super().train(False)


def load_weights(net: nn.Module, path: str | Path, origin: str) -> None:
    """Load a network's weights from a file that holds its state dict, strictly by name and shape.

    Args:
        net: the network.
        path: the file.
        origin: where the right file can be obtained, for error messages.

    Raises:
        UserError: the file is missing, damaged, holds anything but tensors, or a tensor is missing, unexpected or has
            another shape (the first is named).
    """
    state = read_state_dict(path, origin)
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(f"'{path}' does not fit: {_mismatch(net, state, error)}; {advice(origin)}") from None


def read_state_dict(path: str | Path, origin: str) -> dict[str, Tensor]:
    """A plain state dict, read onto the CPU. Raises UserError as `load_weights` does."""
    if not Path(path).is_file():
        raise UserError(f"'{path}' does not exist; {advice(origin)}")
    try:
        state = load_torch(path)
    except UserError as error:
        raise UserError(f"cannot read weights from '{path}' ({error}); {advice(origin)}") from None
    if not (isinstance(state, Mapping) and all(isinstance(tensor, Tensor) for tensor in state.values())):
        raise UserError(f"'{path}' holds no state dict (tensors by name); {advice(origin)}")
    return dict(state)


def advice(origin: str) -> str:
    """The part of an error message that says what to do about a missing or wrong file."""
    return f"place {origin} at this path"


def _mismatch(net: nn.Module, state: Mapping[str, Tensor], error: RuntimeError) -> str:
    """A description of the first tensor that is missing or has another shape, else of the first unexpected one."""
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
