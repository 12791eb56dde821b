"""Packages that export and viewer do not import until they need them, or at all."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from nha.viewer.server import import_viser


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("nha.export.settings", {"torch", "numpy", "cv2", "trimesh", "pygltflib"}),
        ("nha.viewer.settings", {"torch", "numpy", "cv2", "viser"}),
        ("nha.export.run", {"pytorch_lightning", "viser"}),
        ("nha.viewer.app", {"pytorch_lightning", "viser", "trimesh", "ipywidgets"}),
    ],
)
def test_packages_are_not_imported(module, absent, repository):
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    imported = set(done.stdout.split())
    assert module in imported
    assert absent & imported == set()


def test_closing_a_browser_gives_no_warning():
    """Neither while an image is drawn for it; the text is that of viser."""
    pytest.importorskip("viser", reason="viser is not installed ([viewer] in pyproject.toml)")
    from viser.infra import _async_message_buffer

    assert 'f"Queued a {type(message).__name__} on a closed connection ' in Path(
        _async_message_buffer.__file__
    ).read_text("utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        import_viser()
        warnings.warn("Queued a BackgroundImageMessage on a closed connection", UserWarning, stacklevel=1)
