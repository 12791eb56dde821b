"""Settings of the training data: dataset, tracking file, split and batch sizes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from nha.core.config import Settings, setting


@dataclass(frozen=True)
class DataSettings(Settings):
    """Dataset."""

    data_path: Path = setting(
        option="dataset", main=True, help="Dataset folder, as written by `nha preprocess`."
    )
    tracking_results_path: Path = setting(
        option="tracking",
        main=True,
        help="Tracking file of this dataset (tracked_flame_params.npz), or its folder.",
    )
    split_config: Path | None = setting(
        None,
        help='JSON file {"train": [frame ids], "val": [frame ids]}; none takes split.json of the dataset '
        "folder if there is one, else holds out the last quarter of the tracked frames.",
    )
    every: int = setting(1, minimum=1, help="Train on every N-th training frame only.")
    max_frames: int = setting(
        0,
        minimum=0,
        help="Train on at most N frames, spread over the training frames; 0 uses all.",
    )
    published: bool = setting(
        False,
        help="Take the published defaults where ours depend on the files at hand: the split that the published "
        "configuration names, and the perceptual term also without its weights (an error).",
    )
    train_batch_size: tuple[int, int, int] = setting(
        (16, 2, 2),
        minimum=1,
        help="Frames in a training batch of the geometry, texture and joint stage.",
        maximum=4096,
    )
    validation_batch_size: tuple[int, int, int] = setting(
        (4, 2, 2),
        minimum=1,
        help="Frames in a validation batch of the geometry, texture and joint stage.",
        maximum=4096,
    )
    pose_balance: float = setting(
        0.0,
        minimum=0,
        maximum=1,
        help="How much more often frames with rare head poses are used: 0 all frames equally, 1 all poses equally.",
    )
    data_worker: int = setting(
        0,
        minimum=0,
        help="Processes that load frames; 0 loads in the main process, which is fastest with a cache.",
        maximum=256,
    )
    frame_cache: str = setting(
        "auto",
        help="Cache of decoded frames: a folder, none (decode every time), or auto (in the dataset folder, or among "
        "the system's temporary files if that is not writable).",
    )

    IGNORED: ClassVar = {
        f"load_{name}": "frames are always loaded with all their annotations"
        for name in ("lmk", "seg", "camera", "flame", "normal", "parsing")
    }
