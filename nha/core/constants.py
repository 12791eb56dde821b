"""Constant tensors that are copied to a device once.

`tensor.new_tensor([...])` copies from the host at every call, and on CUDA waits for the device. Constants are kept as
long as the process runs, because recorded CUDA graphs read them; `present_values` is for numbers that change.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

Values = tuple  # of numbers, or of tuples of numbers


def constant(values: Values, like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """A tensor of the values on the device of `like`, the same object at every call; do not write to it.

    values: numbers in (nested) tuples; dtype: None for that of `like`.
    """
    return _constant(values, dtype or like.dtype, like.device)


def present_values(values: tuple[float, ...], like: Tensor) -> Tensor:
    """Numbers that change from call to call, such as learning rates: a new tensor [K] like `like`, not waited for."""
    return torch.tensor(values, dtype=like.dtype).to(like.device, non_blocking=True)


@functools.cache
def _constant(values: Values, dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # a tensor made in inference mode could not be used in training
        return torch.tensor(values, dtype=dtype, device=device)
