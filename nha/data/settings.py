"""Settings of the data: which dataset, which tracking, which frames, how many at a time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from nha.core.config import setting


@dataclass(frozen=True)
class DataSettings:
    """Dataset."""

    data_path: Path = setting(help="Dataset folder, made by video_to_dataset.py.")
    tracking_results_path: Path = setting(
        help="Tracking file of this dataset (tracked_flame_params.npz), or the folder it is in."
    )
    split_config: Path | None = setting(
        None,
        help='JSON file {"train": [frame ids], "val": [frame ids]}; none takes split.json of the dataset '
        "folder where there is one, else holds out the last quarter of the tracked frames.",
    )
    train_batch_size: tuple[int, int, int] = setting(
        (16, 2, 2), help="Frames in a training batch of the geometry, texture and joint stage."
    )
    validation_batch_size: tuple[int, int, int] = setting(
        (4, 2, 2), help="Frames in a validation batch of the geometry, texture and joint stage."
    )
    data_worker: int = setting(
        0, help="Processes that load frames; 0 loads in the main process, which is fastest with a cache."
    )
    frame_cache: str = setting(
        "auto",
        help="Where decoded frames are kept: a folder, none (decode every time), or auto (in the dataset's "
        "folder, or with the system's temporary files where that is not writable).",
    )

    IGNORED: ClassVar = {
        f"load_{name}": "frames are always loaded with all their annotations"
        for name in ("lmk", "seg", "camera", "flame", "normal", "parsing")
    }
