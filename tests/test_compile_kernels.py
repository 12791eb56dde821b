"""All Triton kernels compile for a GPU that is not there; needs Triton."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import compile_kernels

KERNELS = 52
SCRIPT = Path(compile_kernels.__file__)


@pytest.mark.triton
def test_all_kernels_compile_for_a_gpu() -> None:
    pytest.importorskip("triton", reason="the package triton is not installed")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    found = subprocess.run(
        [sys.executable, SCRIPT], env=environment, capture_output=True, text=True, timeout=300
    )
    assert found.returncode == 0, found.stderr
    assert f"{KERNELS} kernels compiled for sm_90" in found.stdout
