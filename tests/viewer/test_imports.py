"""Packages that export and viewer do not import until they need them, or at all."""

from __future__ import annotations

import subprocess
import sys

import pytest


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
