"""Device choice and random seeds."""

from __future__ import annotations

import random

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
