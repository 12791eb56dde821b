"""Networks that are used as they were published, and their weight files.

Files are read without running anything that they name, loaded strictly, and refused in one line.
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
        """To be called when the network is made.

        unused: pattern of whole names; `load_state_dict` takes tensors with such names and drops them. For parts of
        a published network that only its training used.
        """
        self.requires_grad_(False)
        self.eval()
        dropped = re.compile(unused)

        def drop(module, state_dict, prefix, *_) -> None:
            for name in [name for name in state_dict if dropped.fullmatch(name.removeprefix(prefix))]:
                del state_dict[name]

        self.register_load_state_dict_pre_hook(drop)

    def train(self, mode: bool = True) -> FrozenNet:
        """Stay in evaluation mode: a trainer that switches its modules must not move the BN statistics."""
        return super().train(False)


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
    if not Path(path).is_file():
        raise UserError(f"'{path}' is not there; {advice(origin)}")
    try:
        state = load_torch(path)
    except UserError as error:
        raise UserError(f"cannot read weights from '{path}' ({error}); {advice(origin)}") from None
    if not (isinstance(state, Mapping) and all(isinstance(tensor, Tensor) for tensor in state.values())):
        raise UserError(f"'{path}' holds no state dict (tensors by name); {advice(origin)}")
    return dict(state)


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
