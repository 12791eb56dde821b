"""Values that are computed from tensors and kept until one of the tensors changes."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

_here = threading.local()


@contextlib.contextmanager
def recomputed() -> Iterator[None]:
    """In the block, `Derived` values are computed at every call.

    This is for functions that are recorded as CUDA graphs and replayed after their sources have changed: a replay would
    read the value that was kept when the graph was recorded.
    """
    before = getattr(_here, "recomputed", False)
    _here.recomputed = True
    try:
        yield
    finally:
        _here.recomputed = before


class Derived:
    """One value that depends only on a module's own tensors, such as an image that a pyramid of parameters adds up to.

    A tensor counts as changed when an operation has written to it or its memory is another.
    """

    def __init__(self) -> None:
        self._kept: tuple[list[Tensor], list[tuple[int, int]], Any] | None = None

    def value(self, sources: Iterable[Tensor], compute: Callable[[], Any]) -> Any:
        """`compute()` without gradient, or its result at an earlier call with the same sources; do not write to it.

        Where gradients are recorded and reach one of the sources, and in `recomputed`, it is computed at every call.

        Args:
            sources: the tensors that the value depends on.
            compute: computes the value.
        """
        sources = list(sources)
        if getattr(_here, "recomputed", False):
            return compute()
        if torch.is_grad_enabled() and any(source.requires_grad for source in sources):
            return compute()
        if any(source.is_inference() for source in sources):  # such tensors do not count their changes
            return compute()
        state = [(source._version, source.data_ptr()) for source in sources]
        kept = self._kept  # read once: another thread may replace it meanwhile
        if kept is None or kept[1] != state or any(a is not b for a, b in zip(kept[0], sources, strict=True)):
            with torch.inference_mode(False), torch.no_grad():  # kept for later calls
                kept = self._kept = (sources, state, compute())
        return kept[2]
