"""Checks that arrays hold finite numbers, for results that are about to be written and for files that are read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch

from nha.core.errors import UserError

# What to do about results that are not finite although all inputs were.
TRAIN_AGAIN = "the avatar or its tracking is out of range: track again, or train with lower learning rates"


def non_finite_names(
    arrays: Mapping[str, Any] | Iterable[tuple[str, Any]], infinity_in: tuple[str, ...] = ()
) -> list[str]:
    """Names of the floating-point arrays with NaN or infinity.

    Args:
        arrays: tensors or numpy arrays by name; others are skipped.
        infinity_in: beginnings of names whose arrays may hold infinity, but no NaN.
    """
    items = arrays.items() if isinstance(arrays, Mapping) else arrays
    return [name for name, array in items if not _is_finite(array, name.startswith(infinity_in))]


def require_finite(arrays: Mapping[str, Any], what: str, advice: str) -> None:
    """Raise UserError where an array holds NaN or infinity.

    Args:
        arrays: tensors or numpy arrays by name.
        what: begins the message, such as "the exported surface".
        advice: what the user can do.
    """
    if bad := non_finite_names(arrays):
        more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
        raise UserError(f"{what} holds values that are not finite ({', '.join(bad[:3])}{more}); {advice}")


def _is_finite(array: Any, allows_infinity: bool) -> bool:
    if isinstance(array, torch.Tensor):
        if not (array.is_floating_point() or array.is_complex()) or not array.numel():
            return True
        # one pass: a sum of finite numbers may overflow, so it only tells that the values need a look
        if bool(torch.isfinite(array.sum())):
            return True
        return not bool(torch.isnan(array).any() if allows_infinity else (~torch.isfinite(array)).any())
    array = np.asarray(array)
    if array.dtype.kind not in "fc":
        return True
    return not bool((np.isnan(array) if allows_infinity else ~np.isfinite(array)).any())
