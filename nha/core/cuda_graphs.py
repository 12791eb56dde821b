"""CUDA graphs of functions of tensors: all kernels of a call are recorded once and launched together afterwards.

A step of this project launches hundreds of short kernels, and launching them takes longer than running them. A graph
needs static memory and shapes: inputs are copied into buffers, and lists of pixels have the fixed lengths of
`nha.core.pixel_lists`. Where nothing can be recorded, on a CPU or after an error, the function is called as it is.
"""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor

from nha.core.device import uses_cpu_kernels
from nha.core.pixel_lists import ListLengths, fixed_lengths
from nha.core.system import get_logger
from nha.core.types import map_tensors

WARM_UPS = (
    3  # calls before the recording: they fill caches, create the optimisers' state and measure list lengths
)
MOST_GRAPHS = 4  # kept by a function; each holds the memory of its intermediate results
TUNE_CONVOLUTIONS = True
MOST_REPEATS = 4  # of a call whose lists of pixels were too short

_logger = get_logger(__name__)


class Recorder(Protocol):
    """Records the operations of functions without arguments; `CudaRecorder`, or a twin in tests."""

    def warm_up(self, function: Callable[[], Any]) -> Any:
        """Call the function and return its result."""

    def record(self, function: Callable[[], Any]) -> Callable[[], Any]:
        """Record the function without running it; the result runs it and returns tensors in static memory."""


class CudaRecorder:
    """Records CUDA graphs. Warm-up and recording use one stream, which is not the default stream."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)

    def warm_up(self, function: Callable[[], Any]) -> Any:
        """Call the function and return its result."""
        current = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            result = function()
        current.wait_stream(self._stream)
        return result

    def record(self, function: Callable[[], Any]) -> Callable[[], Any]:
        """Record the function without running it; the result runs it and returns tensors in static memory."""
        graph = torch.cuda.CUDAGraph()
        # thread_local: other threads, such as those of the viewer, may use the device meanwhile
        with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
            outputs = function()

        def replay() -> Any:
            graph.replay()
            return outputs

        return replay


class CapturedFunction:
    """A function of tensors that is recorded for each set of input shapes, and replayed.

    The first calls with new shapes run the function itself. Arguments are (nested) dataclasses, mappings and tensors;
    everything else in them must be hashable and is part of the function, like the shapes.

    Attributes:
        device: of the tensors.
        lengths: of the lists of pixels.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        name: str,
        device: torch.device,
        *,
        exact: bool = False,
        changes: Iterable[Tensor] = (),
        capture: bool = True,
        recorder: Recorder | None = None,
    ) -> None:
        """Record nothing yet.

        Args:
            function: it must not read values of tensors, and everything that it changes must be tensors.
            name: in the log.
            device: of the tensors; there are graphs on CUDA devices.
            exact: repeat a call in which a list of pixels was too short; the host waits for each result. Otherwise
                lists that are too short lack entries for some calls.
            changes: tensors that the function writes to; a replay counts as a change of them, too.
            capture: False runs the function itself at every call.
            recorder: None for the device's own.
        """
        self.function, self.name, self.device, self.exact = function, name, device, exact
        self.lengths = ListLengths()
        self._changes = tuple(changes)
        self._fixed = not uses_cpu_kernels(device) or recorder is not None
        if recorder is None and capture and device.type == "cuda":
            recorder = CudaRecorder(device)
        self._recorder = recorder
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._lock = threading.Lock()  # the buffers belong to one call at a time

    @property
    def captures(self) -> bool:
        """Whether calls are recorded; False on a CPU and after a recording that failed."""
        return self._recorder is not None

    def __call__(self, *inputs: Any, key: Hashable = None, copy: bool = False) -> Any:
        """The function's result.

        Args:
            inputs: its arguments, on the device.
            key: what else selects the graph.
            copy: return tensors of their own; otherwise the next call overwrites them.
        """
        if not self._fixed:
            return self.function(*inputs)
        with self._lock:
            result = self._run(inputs, key)
            for _ in range(MOST_REPEATS if self.exact else 0):
                if not self.lengths.exceeded():
                    break
                self._forget_graphs()
                result = self._run(inputs, key)
            if not self.exact:
                self._follow_lengths()
            return map_tensors(result, torch.clone) if copy else result

    def _run(self, inputs: tuple, key: Hashable) -> Any:
        if self._recorder is not None:
            entry = self._entry(inputs, key)
            entry.fill(inputs)
            if entry.warm_ups < WARM_UPS:
                entry.warm_ups += 1
                return self._recorder.warm_up(entry.call)
            if entry.replay is not None or self._record(entry):
                result = entry.replay()
                torch.autograd.graph.increment_version(self._changes)
                return result
        with fixed_lengths(self.lengths):
            return self.function(*inputs)

    def _entry(self, inputs: tuple, key: Hashable) -> _Entry:
        signature = key, *(map_tensors(value, _shape_and_type) for value in inputs)
        entry = self._entries.setdefault(signature, _Entry(self.function, self.lengths))
        self._entries.move_to_end(signature)
        if len(self._entries) > MOST_GRAPHS:
            self._entries.popitem(last=False)
        return entry

    def _record(self, entry: _Entry) -> bool:
        """Record an entry; if that fails, nothing is recorded any more."""
        try:
            entry.record(self._recorder)
        except Exception as error:  # what is wrong shows where the function runs without a graph
            reason = str(error).partition("\n")[0]
            _logger.warning("%s is not run as a CUDA graph: %s", self.name, reason)
            _logger.debug("recording of %s", self.name, exc_info=True)
            self._recorder = None
            self._entries.clear()
            return False
        return True

    def _follow_lengths(self) -> None:
        if self._recorder is not None and self.lengths.follow():
            self._forget_graphs()

    def _forget_graphs(self) -> None:
        """Record again at the next calls, with longer lists."""
        for entry in self._entries.values():
            entry.replay = None
            entry.warm_ups = min(entry.warm_ups, WARM_UPS - 1)


class _Entry:
    """One set of input shapes: its buffers, and its graph once there is one."""

    def __init__(self, function: Callable[..., Any], lengths: ListLengths) -> None:
        self._function, self._lengths = function, lengths
        self._buffers: tuple | None = None
        self.warm_ups = 0
        self.replay: Callable[[], Any] | None = None

    def fill(self, inputs: tuple) -> None:
        """Copy the inputs into the buffers."""
        if self._buffers is None:
            self._buffers = tuple(map_tensors(value, torch.clone) for value in inputs)
            return
        buffers, values = _tensors(self._buffers), _tensors(inputs)
        if buffers:
            torch._foreach_copy_(buffers, values)

    def call(self) -> Any:
        """Call the function with the buffers."""
        with fixed_lengths(self._lengths), _tuned_convolutions():
            return self._function(*self._buffers)

    def record(self, recorder: Recorder) -> None:
        """Record the call with the present list lengths."""
        self._lengths.exceeded()  # take over the values of the warm-up
        self.replay = recorder.record(self._call_with_frozen_lengths)

    def _call_with_frozen_lengths(self) -> Any:
        self._lengths.frozen = True
        try:
            return self.call()
        finally:
            self._lengths.frozen = False


@contextlib.contextmanager
def _tuned_convolutions() -> Iterator[None]:
    """In the block, cuDNN measures its algorithms at the first call with a shape; captured shapes do not change."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = TUNE_CONVOLUTIONS
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def _tensors(values: tuple) -> list[Tensor]:
    found: list[Tensor] = []

    def collect(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    for value in values:
        map_tensors(value, collect)
    return found


def _shape_and_type(tensor: Tensor) -> tuple:
    return tuple(tensor.shape), tensor.dtype
