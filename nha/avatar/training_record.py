"""What a checkpoint records about the data it was trained on: shape, split, place of the files, video.

The record is the entry `trained_on` of a checkpoint, plain types only:

    shape            [S] identity coefficients of the tracking
    split            {"train": [ids], "val": [ids]}
    dataset          path of the dataset folder, relative to the checkpoint's folder
    tracking         path of the tracking file, relative to the checkpoint's folder
    frames, images   ids and thumbnails of some frames, see `nha.data.origin`
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from nha.data.dataset_folder import DatasetFolder
from nha.data.frame_dataset import FrameSplits
from nha.data.origin import TrackingOrigin
from nha.data.splits import Split
from nha.data.tracking_file import find_tracking_file


def training_record(data: FrameSplits, folder: Path) -> dict[str, Any]:
    """The record of a training run.

    Args:
        data: the frames of the run.
        folder: the folder of its checkpoint.
    """
    origin = TrackingOrigin.of(data.folder, data.split.frame_ids())
    tracking = find_tracking_file(data.settings.tracking_results_path)
    return {
        "shape": data.tracking.shape.tolist(),
        "split": {"train": list(data.split.train), "val": list(data.split.val)},
        "dataset": _relative(data.folder.root, folder),
        "tracking": _relative(tracking, folder),
        "frames": origin.frames.tolist(),
        "images": origin.thumbnails.tolist(),
    }


def record_of(avatar: nn.Module) -> dict[str, Any]:
    """The record of an avatar that was opened from a checkpoint; empty for another one."""
    return getattr(avatar, "trained_on", {})


def recorded_shape(record: Mapping[str, Any]) -> np.ndarray | None:
    """The identity coefficients [S] of an avatar; None where they were not recorded."""
    shape = record.get("shape")
    return np.asarray(shape, np.float32) if shape else None


def recorded_split(record: Mapping[str, Any]) -> Split | None:
    """The split of the training; None where it was not recorded."""
    split = record.get("split")
    return Split(tuple(split["train"]), tuple(split["val"])) if split else None


def recorded_origin(record: Mapping[str, Any]) -> TrackingOrigin:
    """Frames and thumbnails of the training video; empty where they were not recorded."""
    if not record.get("frames"):
        return TrackingOrigin()
    return TrackingOrigin({}, np.asarray(record["frames"], np.int64), np.asarray(record["images"], np.uint8))


def trained_on_dataset(record: Mapping[str, Any], folder: DatasetFolder) -> bool | None:
    """Whether an avatar was trained on the video of this dataset; None where that is unknown."""
    return recorded_origin(record).is_of(folder)


def recorded_file(
    record: Mapping[str, Any], hyper_parameters: Mapping[str, Any], key: str, checkpoint: str | Path
) -> Path | None:
    """The tracking file or the dataset of the training, if it still exists.

    Args:
        record: the checkpoint's record.
        hyper_parameters: the checkpoint's settings, whose paths are relative to the working directory.
        key: tracking or dataset.
        checkpoint: the checkpoint's path, or its folder.
    """
    option = {"tracking": "tracking_results_path", "dataset": "data_path"}[key]
    candidates = []
    if record.get(key):
        path = Path(checkpoint)
        candidates.append((path if path.is_dir() else path.parent) / record[key])
    if hyper_parameters.get(option):
        candidates.append(Path(hyper_parameters[option]))
    return next((path for path in candidates if path.exists()), None)


def _relative(path: Path, folder: Path) -> str:
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:  # another drive
        return str(path.resolve())
