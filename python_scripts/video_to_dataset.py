"""Make a dataset folder from a portrait video: frames, landmarks, irises, parsing, masks and normals.

A run that was interrupted continues when it is started again with the same options.
"""

from __future__ import annotations

from nha.core.config import parse_settings
from nha.core.system import run_script
from nha.preprocess.options import PreprocessOptions


def main() -> None:
    """Read the command line and make the dataset."""
    options = parse_settings(PreprocessOptions, description=__doc__)
    from nha.preprocess.pipeline import build_dataset  # loads PyTorch and OpenCV

    build_dataset(options)


if __name__ == "__main__":
    run_script(main)
