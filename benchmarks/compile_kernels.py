"""Compile all Triton kernels of the project for a GPU that need not be there.

    python benchmarks/compile_kernels.py [--capability 90]

Calls the functions that launch kernels with small tensors on the CPU. In place of each launch the kernel is compiled
for the types and the alignment of its arguments, down to machine code. Needs the package triton, but no GPU.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from unittest import mock

import torch

import checkout  # noqa: F401 - finds the package where it is not installed
from nha.core.device import accelerator_path
from nha.core.errors import UserError
from nha.core.launches import kernels_on_cpu
from nha.core.system import run_script

ALIGNMENT = 16  # bytes, or a factor of integers
TYPES = {
    torch.float32: "fp32",
    torch.float16: "fp16",
    torch.bfloat16: "bf16",
    torch.uint8: "u8",
    torch.int16: "i16",
    torch.int32: "i32",
    torch.int64: "i64",
}


def compile_launches(capability: int, report: Callable[[str], None]) -> int:
    """Compile the kernels of all launches.

    Args:
        capability: of the GPU, 90 for an H100 or H200.
        report: gets one line for each compiled kernel.

    Returns:
        The number of different kernels.

    Raises:
        UserError: triton is not installed, or runs in its interpreter.
    """
    try:
        import triton
        from triton.backends.compiler import GPUTarget
        from triton.compiler import ASTSource
        from triton.runtime.jit import JITFunction
    except ImportError:
        raise UserError("the package triton is not installed") from None
    if triton.knobs.runtime.interpret:
        raise UserError("TRITON_INTERPRET is set, which replaces the compiler; unset it")
    compiled: dict[tuple, None] = {}

    def compile_instead(kernel: JITFunction, *arguments, grid, warmup, **options) -> None:
        values = dict(zip(kernel.arg_names, arguments, strict=False))
        values |= {name: options.pop(name) for name in kernel.arg_names if name in options}
        constants = {
            name for name in kernel.arg_names if kernel.params[kernel.arg_names.index(name)].is_constexpr
        }
        signature = {
            name: "constexpr" if name in constants else _type(values[name]) for name in kernel.arg_names
        }
        fixed = {name: values[name] for name in constants}
        key = (kernel.__name__, *signature.values(), *sorted(fixed.items()))
        if key in compiled:
            return
        compiled[key] = None
        aligned = [
            i for i, name in enumerate(kernel.arg_names) if name not in fixed and _aligned(values[name])
        ]
        attributes = {(i,): [["tt.divisibility", ALIGNMENT]] for i in aligned}
        source = ASTSource(fn=kernel, signature=signature, constexprs=fixed, attrs=attributes)
        target = GPUTarget("cuda", capability, 32)
        binary = triton.compile(source, target=target, options=options)
        sizes = ", ".join(f"{name} {value}" for name, value in sorted(fixed.items()))
        report(
            f"{kernel.__name__} ({sizes}): {len(binary.asm['cubin'])} bytes, {binary.metadata.shared} shared"
        )

    with mock.patch.object(JITFunction, "run", compile_instead):
        from kernel_launches import launch_all

        with kernels_on_cpu(), accelerator_path():
            launch_all()
    return len({key[0] for key in compiled})


def _type(value: object) -> str:
    """The type of an argument in a kernel's signature."""
    if isinstance(value, torch.Tensor):
        return "*" + TYPES[value.dtype]
    if isinstance(value, float):
        return "fp32"
    return "i64" if abs(value) >= 2**31 else "i32"


def _aligned(value: object) -> bool:
    """Whether Triton compiles for an argument that is a multiple of ALIGNMENT; torch aligns memory."""
    return isinstance(value, torch.Tensor) or (isinstance(value, int) and value % ALIGNMENT == 0)


def main(argv: list[str] | None = None) -> None:
    """Compile and print one line for each kernel."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--capability", type=int, default=90, help="of the GPU: 80, 86, 89, 90, ...")
    arguments = parser.parse_args(argv)
    count = compile_launches(arguments.capability, print)
    print(f"{count} kernels compiled for sm_{arguments.capability}")


if __name__ == "__main__":
    run_script(main)
