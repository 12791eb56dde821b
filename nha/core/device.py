"""Device choice and random seeds."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import numpy as np
import torch

from nha.core.errors import UserError


def pick_device(name: str = "auto") -> torch.device:
    """The device of a name, which exists on this machine.

    Args:
        name: a torch device string, or "auto" for the accelerator if there is one, else the CPU.

    Raises:
        UserError: for an unknown name, or an accelerator that is not available.
    """
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if name == "auto":
        return accelerator or torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"device '{name}' is unknown; use auto, cpu or cuda") from None
    if device.type != "cpu" and (accelerator is None or accelerator.type != device.type):
        raise UserError(f"device '{name}' is not available on this machine; use --device cpu or auto")
    return device


def seed_everything(seed: int) -> None:
    """Seed the random number generators of Python, numpy and torch."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - libraries use numpy's global generator
    torch.manual_seed(seed)


def set_precision(precision: str) -> None:
    """Choose the precision of float32 matrix products and convolutions.

    precision: `highest` is float32 everywhere, `high` allows tf32, `medium` bfloat16 products where supported.
    cuDNN convolves in tf32 by default, which `torch.set_float32_matmul_precision` alone does not change.
    """
    torch.set_float32_matmul_precision(precision)
    torch.backends.cudnn.allow_tf32 = precision != "highest"


@contextlib.contextmanager
def float32_products() -> Iterator[None]:
    """Compute matrix products in float32 in the block, whatever `set_precision` chose; their backward passes follow it.

    For positions: tf32 rounds a head at a distance of 0.9 m to 0.4 mm, which is half a pixel of an image of 512 pixels.
    """
    before = torch.get_float32_matmul_precision()
    if before == "highest":
        yield
        return
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


_cpu_kernels_wanted = True


def uses_cpu_kernels(device: torch.device) -> bool:
    """Whether computations on `device` use the project's CPU kernels; see `accelerator_path`."""
    return device.type == "cpu" and _cpu_kernels_wanted


@contextlib.contextmanager
def accelerator_path() -> Iterator[None]:
    """Compute on the CPU with the operations that an accelerator runs, for tests and for `benchmarks/op_count.py`.

    Only the Triton kernels cannot run there: the rasteriser stays on its CPU backend.
    """
    global _cpu_kernels_wanted
    before, _cpu_kernels_wanted = _cpu_kernels_wanted, False
    try:
        yield
    finally:
        _cpu_kernels_wanted = before
