"""Turn a portrait video into a dataset folder: frames, landmarks, irises, parsing, masks and normals.

A run that was interrupted continues when it is started again with the same options.
"""

from __future__ import annotations

import time

from nha.core.config import parse_settings
from nha.core.system import run_script
from nha.data.messages import some_of
from nha.preprocess.options import PreprocessOptions
from nha.preprocess.pipeline import build_dataset
from nha.preprocess.workspace import DatasetInfo


def main() -> None:
    """Read the command line, make the dataset, print what came out."""
    options = parse_settings(PreprocessOptions, description=__doc__)
    start = time.perf_counter()
    info = build_dataset(options)
    print_summary(options, info, time.perf_counter() - start)


def print_summary(options: PreprocessOptions, info: DatasetInfo, seconds: float) -> None:
    """Say how many frames there are, and which lack something."""
    print(f"{info.n_frames} frames in {seconds:.1f} s ({info.n_frames / seconds:.1f} frames per second)")
    for name, frame_ids in (
        ("without a face (left out)", info.frames_without_face),
        ("with several faces", info.frames_with_several_faces),
        ("without irises (eyes closed or hidden)", info.frames_without_iris),
    ):
        print(f"frames {name}: {some_of(frame_ids) if frame_ids else 'none'}")
    print(f"dataset: {options.out_path}")
    print(f"to look at: {options.out_path / 'dataset.mp4'}")


if __name__ == "__main__":
    run_script(main)
