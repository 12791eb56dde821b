"""Disk cache for expensive deterministic arrays."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from nha.core.system import atomic_path


def _user_cache() -> Path:
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if named.is_absolute():  # others count as not set, by the XDG Base Directory Specification
        return named
    try:
        return Path("~/.cache").expanduser()
    except RuntimeError:  # no home folder: nothing can be read or written below this file
        return Path(os.devnull)


# In the user's own folder: files that other users could write are not safe to read.
CACHE_FOLDER = _user_cache() / "nha"


def cached_array(compute: Callable[..., np.ndarray], version: int, *inputs: np.ndarray | float) -> np.ndarray:
    """`compute(*inputs)`, or the identical array that an earlier process has stored.

    A cache folder that cannot be written, or a damaged file, only costs the time of the computation.

    Args:
        compute: a deterministic function.
        version: version of the function; change it whenever its results may differ.
        inputs: arguments of the function; the file name is a digest of them.
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
