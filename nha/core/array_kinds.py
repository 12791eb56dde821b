"""Conversion of arrays from files to the types that the program uses; text and objects are no numbers."""

from __future__ import annotations

from typing import Any

import numpy as np


def as_numbers(value: Any) -> np.ndarray:
    """An array of numbers as float32; what is too large becomes infinite. Raises TypeError for other arrays."""
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{array.dtype} in place of numbers")
    with np.errstate(over="ignore"):
        return array.astype(np.float32)


def as_ids(value: Any) -> np.ndarray:
    """An array of ids as int64. Raises ValueError for other arrays."""
    array = np.asarray(value)
    if (
        array.dtype.kind not in "fiub"
        or not (np.isfinite(array) & (np.abs(array.astype(float)) < 2**62)).all()
    ):
        raise ValueError("an array of ids holds other values")
    return array.astype(np.int64)
