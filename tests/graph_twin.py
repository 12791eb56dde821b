"""A recorder that behaves like CUDA graphs on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nha.core.types import map_tensors


class GraphTwin:
    """Runs the recorded function again at each replay, and writes its results into the same tensors.

    Like a CUDA graph it runs nothing while it records, reads the buffers that the function was recorded with, and
    returns the same tensors each time.

    Attributes:
        recorded, replayed: number of recordings and of replays.
    """

    def __init__(self) -> None:
        self.recorded = self.replayed = 0

    def warm_up(self, function: Callable[[], Any]) -> Any:
        """Call the function."""
        return function()

    def record(self, function: Callable[[], Any]) -> Callable[[], Any]:
        """The function, with results in the same tensors at each call."""
        self.recorded += 1
        static: list = []

        def replay() -> Any:
            self.replayed += 1
            result = function()
            if not static:
                static.append(map_tensors(result, lambda tensor: tensor.detach().clone()))
            else:
                new: list = []
                map_tensors(result, lambda tensor: new.append(tensor) or tensor)
                values = iter(new)
                map_tensors(static[0], lambda tensor: tensor.copy_(next(values)))
            return static[0]

        return replay
