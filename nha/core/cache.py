"""Arrays that are dear to compute and decided by their inputs: kept on disk, found again by a digest."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from nha.core.system import atomic_path

# The user's own: what others could write is not to be believed.
CACHE_FOLDER = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "nha"


def cached_array(compute: Callable[..., np.ndarray], version: int, *inputs: np.ndarray | float) -> np.ndarray:
    """`compute(*inputs)`, or what an earlier process has kept of it, to the bit.

    version: of the computation, another one whenever its results may differ. A folder that cannot be written, or a file
    that cannot be read, costs time and nothing else.
    """
    digest = hashlib.sha256(f"{compute.__module__}.{compute.__qualname__} {version}".encode())
    for value in map(np.asarray, inputs):
        digest.update(f"{value.dtype} {value.shape}".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    path = CACHE_FOLDER / f"{compute.__name__}_{digest.hexdigest()[:32]}.npy"
    with contextlib.suppress(OSError, ValueError, EOFError):
        return np.load(path, allow_pickle=False)
    result = compute(*inputs)
    with contextlib.suppress(OSError), atomic_path(path) as temporary:
        np.save(temporary, result, allow_pickle=False)
    return result
