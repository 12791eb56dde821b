"""Loading mediapipe without its messages, and image shapes that its models expect."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from types import ModuleType

import numpy as np

from nha.core.errors import UserError
from nha.core.optional_files import INSTALL_MEDIAPIPE


def load_mediapipe() -> ModuleType:
    """The package mediapipe. Raises UserError if it is not installed or does not load."""
    try:
        with quiet():
            import mediapipe
    except ImportError as error:
        raise UserError(
            f"the mediapipe estimators need the package mediapipe 0.10.21 ({error}): `make env` installs it, and so "
            f"does {INSTALL_MEDIAPIPE}; synthetic videos need none with --estimators truth"
        ) from error
    return mediapipe


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hide messages of native code and protobuf on the error stream, unless the block raises."""
    with tempfile.TemporaryFile() as kept, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sys.stderr.flush()
        original = os.dup(2)
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except BaseException:
            _point_stderr_back(original)
            original = -1
            kept.seek(0)
            shutil.copyfileobj(kept, os.fdopen(os.dup(2), "wb"))
            raise
        finally:
            if original >= 0:
                _point_stderr_back(original)


def _point_stderr_back(original: int) -> None:
    os.dup2(original, 2)
    os.close(original)


def pad_to_square(rgb: np.ndarray) -> np.ndarray:
    """Pad an image with black at the right or the bottom: [H, W, 3] to [S, S, 3], S = max(H, W).

    mediapipe's face models assume square images when they rotate their region of interest.
    """
    height, width = rgb.shape[:2]
    side = max(height, width)
    if height == width:
        return np.ascontiguousarray(rgb)
    square = np.zeros((side, side, 3), np.uint8)
    square[:height, :width] = rgb
    return square
