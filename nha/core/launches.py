"""Kernel launches as operations of torch: a Triton kernel on CUDA, a twin in plain torch on the CPU.

As operations, launches are seen by torch's dispatcher, so profiles and `benchmarks/op_count.py` count them. They write
into tensors that the caller has allocated, and have no gradient: `torch.autograd.Function`s call them. They are used
where `uses_fused_kernels` says so: on CUDA with Triton, and in tests and counts inside of
`nha.core.device.accelerator_path`. NHA_FUSED_KERNELS=0 turns them off.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import os
from collections.abc import Callable, Iterator, Mapping

import torch

from nha.core.device import uses_cpu_kernels

_kernels_on_cpu = False
_library = torch.library.Library("nha", "DEF")


def register_launches(kernel_module: str, twins: Mapping[str, Callable[..., None]]) -> None:
    """Define operations `torch.ops.nha.NAME`.

    With TRITON_INTERPRET=1 set, the kernels run on the CPU in Triton's interpreter instead of the twins.

    Args:
        kernel_module: the module whose functions of the same names launch the kernels; it is imported at the first
            launch, because Triton is an optional package.
        twins: schema of each operation, as `name(Tensor x, Tensor(a!) out) -> ()`, and its twin in plain torch.
    """
    for schema, twin in twins.items():
        name = schema.split("(")[0]
        kernel = functools.partial(_launch, kernel_module, name)
        _library.define(schema)
        _library.impl(name, kernel, "CUDA")
        _library.impl(name, functools.partial(_launch_or_compute, kernel, twin), "CPU")
        # gradients come from the autograd function that calls the operation
        _library.impl(name, torch.library.fallthrough_kernel, "Autograd")


def uses_fused_kernels(device: torch.device) -> bool:
    """Whether computations on `device` use fused kernels, in place of several operations of torch."""
    if os.environ.get("NHA_FUSED_KERNELS") == "0" or torch.compiler.is_compiling():
        return False
    if device.type == "cuda":
        return has_triton()
    return device.type == "cpu" and not uses_cpu_kernels(device)


@functools.cache
def has_triton() -> bool:
    """Whether the package triton is installed."""
    return importlib.util.find_spec("triton") is not None


@contextlib.contextmanager
def kernels_on_cpu() -> Iterator[None]:
    """Launch the kernels on the CPU, too: only for programs that replace the launch, as `compile_kernels.py`."""
    global _kernels_on_cpu
    _kernels_on_cpu = True
    try:
        yield
    finally:
        _kernels_on_cpu = False


def _launch(module: str, name: str, *arguments) -> None:
    getattr(importlib.import_module(module), name)(*arguments)


def _launch_or_compute(kernel: Callable[..., None], twin: Callable[..., None], *arguments) -> None:
    in_interpreter = os.environ.get("TRITON_INTERPRET") == "1"
    (kernel if in_interpreter or _kernels_on_cpu else twin)(*arguments)
