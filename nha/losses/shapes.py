"""Checks of argument shapes, with errors that name the argument."""

from __future__ import annotations

import torch
from torch import Tensor


def expect_shape(name: str, tensor: Tensor, *shape: int | None) -> None:
    """Raise ValueError unless `tensor` has this shape; None is any size."""
    fits = tensor.ndim == len(shape) and all(
        want is None or size == want for size, want in zip(tensor.shape, shape, strict=True)
    )
    if not fits:
        wanted = ", ".join("any" if want is None else str(want) for want in shape)
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}, expected ({wanted})")


def expect_mask(name: str, tensor: Tensor) -> None:
    """Raise ValueError unless `tensor` is boolean, because `~` and indexing differ for other types."""
    if tensor.dtype != torch.bool:
        raise ValueError(f"{name} is {tensor.dtype}, expected torch.bool")
