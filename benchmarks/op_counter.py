"""A counter of aten calls by part, and of the calls for which the host would wait for an accelerator."""

from __future__ import annotations

import bisect
import contextlib
import math
from collections import Counter
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

ALLOCATIONS = frozenset(
    {"empty", "new_empty", "empty_like", "empty_strided", "new_empty_strided", "_unsafe_view"}
)
MARKERS = frozenset({"_record_function_enter_new", "_record_function_exit"})  # of the profiler
DATA_DEPENDENT = frozenset(
    {
        "nonzero",
        "_local_scalar_dense",
        "masked_select",
        "_unique2",
        "unique_dim",
        "unique_consecutive",
        "equal",
    }
)
INDEXED = frozenset({"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"})
READ_BY_HOST = (Tensor.cpu, Tensor.tolist, Tensor.numpy)


class OpCounter(contextlib.AbstractContextManager):
    """Counts the aten calls in a block, by part.

    Attributes:
        ops, views, syncs: part -> number of calls. Calls of the backward pass count for the part whose forward pass
            made them necessary.
        sync_names: (part, call) -> number of its synchronising calls.
        traffic: part -> bytes of the tensors that the counted operations read and write, each counted once a call.
    """

    def __init__(self) -> None:
        self.ops: Counter[str] = Counter()
        self.views: Counter[str] = Counter()
        self.syncs: Counter[str] = Counter()
        self.sync_names: Counter[tuple[str, str]] = Counter()
        self.traffic: Counter[str] = Counter()
        self._part = "other"
        self._starts: list[int] = [0]  # autograd sequence numbers at which another part begins
        self._parts_from: list[str] = ["other"]
        self.counting = True
        self._modes = contextlib.ExitStack()

    def __enter__(self) -> OpCounter:
        self._modes.enter_context(_HostData(self))
        self._modes.enter_context(_Calls(self))
        return self

    def __exit__(self, *exception) -> None:
        self._modes.close()

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the calls in the block for a part; the innermost part counts."""
        outer = self._part
        self._begin(name)
        try:
            yield
        finally:
            self._begin(outer)

    def within(self, name: str, function: Callable) -> Callable:
        """The function, with its calls counted for a part."""

        def counted(*args, **kwargs):
            with self.part(name):
                return function(*args, **kwargs)

        return counted

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Count nothing in the block."""
        self.counting = False
        try:
            yield
        finally:
            self.counting = True

    def add_launches(self, n: int) -> None:
        """Count n kernel launches that are no aten calls."""
        self.ops[self._current_part()] += n

    def add_sync(self, name: str) -> None:
        """Count a call for which the host would wait."""
        part = self._current_part()
        self.syncs[part] += 1
        self.sync_names[part, name] += 1

    def add_call(self, func, args: tuple, kwargs: dict, result: object) -> None:
        """Count one aten call."""
        if not self.counting:
            return
        name = func._schema.name.partition("::")[2]
        if name in MARKERS:
            return
        is_view = any(r.alias_info is not None and not r.alias_info.is_write for r in func._schema.returns)
        part = self._current_part()
        if is_view or name in ALLOCATIONS:
            self.views[part] += 1
        else:
            self.ops[part] += 1
            self.traffic[part] += sum(map(_bytes, tree_flatten((args, kwargs, result))[0]))
        indices = args[1] if name in INDEXED and len(args) > 1 else ()
        if name == "_local_scalar_dense" and getattr(args[0], "_made_by_host", False):
            return  # the value is on the host already
        if name in DATA_DEPENDENT or any(
            i is not None and i.dtype in (torch.bool, torch.uint8) for i in indices
        ):
            self.add_sync(name)

    def totals(self) -> dict[str, int]:
        """The sums over all parts."""
        return {name: sum(getattr(self, name).values()) for name in ("ops", "views", "syncs", "traffic")}

    def _begin(self, part: str) -> None:
        self._part = part
        self._starts.append(torch.autograd._get_sequence_nr())
        self._parts_from.append(part)

    def _current_part(self) -> str:
        node = torch._C._current_autograd_node()
        if node is None:
            return self._part
        if node.name().endswith("AccumulateGrad"):
            return "sums of gradients"
        return self._parts_from[bisect.bisect_right(self._starts, node._sequence_nr()) - 1]


def _bytes(value: object) -> int:
    """Bytes of a tensor's elements, of which those of expanded axes are one; 0 for other values."""
    if not isinstance(value, Tensor) or value.layout is not torch.strided:
        return 0
    own = math.prod(size for size, step in zip(value.shape, value.stride(), strict=True) if step)
    return own * value.element_size()


class _Calls(TorchDispatchMode):
    def __init__(self, counter: OpCounter) -> None:
        super().__init__()
        self.counter = counter

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        self.counter.add_call(func, args, kwargs, result)
        return result


class _HostData(TorchFunctionMode):
    """Follows the tensors that would lie in host memory, and counts where they would be copied to the accelerator.

    Host tensors are made without `device=` and without another tensor, or computed from host tensors only. What
    computes them launches nothing and is not counted.
    """

    def __init__(self, counter: OpCounter) -> None:
        super().__init__()
        self.counter = counter

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if not self.counter.counting:
            return func(*args, **kwargs)
        tensors = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, Tensor)]
        on_host = [getattr(tensor, "_made_by_host", False) for tensor in tensors]
        if func in READ_BY_HOST and not all(on_host):
            self.counter.add_sync(func.__name__)
        is_device_named = kwargs.get("device") not in (None, "cpu")
        only_host = all(on_host) and not is_device_named and func is not Tensor.to
        with self.counter.paused() if only_host else contextlib.nullcontext():
            result = func(*args, **kwargs)
        if func is Tensor.to and on_host[0]:
            if not kwargs.get("non_blocking"):
                self.counter.add_sync("copy of host data")
            return result.detach()  # another object, which is no host tensor
        host_arrays = [t for t, host in zip(tensors, on_host, strict=True) if host and t.ndim]
        if func is Tensor.copy_ and len(set(on_host)) == 2:
            if not kwargs.get("non_blocking"):
                self.counter.add_sync("copy between host and device")
        elif host_arrays and not all(on_host):
            self.counter.add_sync("host tensor as an argument")
        elif isinstance(result, Tensor) and (kwargs.get("device") == "cpu" or only_host):
            result._made_by_host = True
        return result
