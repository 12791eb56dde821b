"""Code that runs without optional packages, as on a machine that only runs the benchmarks."""

from __future__ import annotations

# Packages of the viewer, the detectors and the exporters.
OPTIONAL = ("av", "mediapipe", "viser", "pygltflib", "configargparse", "trimesh")

# Begins a program for `python -c` in which these packages cannot be imported.
WITHOUT_OPTIONAL = f"""
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {OPTIONAL!r}:
            raise ModuleNotFoundError("blocked: " + name, name=name)

sys.meta_path.insert(0, Block())
"""
