"""Splits into training and held-out frames: `split.json`."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nha.core.errors import UserError
from nha.core.json_file import read_json, write_json
from nha.core.paths import CONFIGS
from nha.core.system import get_logger
from nha.data.dataset_folder import DatasetFolder
from nha.data.messages import some_of
from nha.data.settings import DataSettings

PUBLISHED_SPLIT = CONFIGS / "split.json"
"""Frames 0 to 1495 of the published project's example video, which its configuration names."""


@dataclass(frozen=True)
class Split:
    """Frame ids for training and for validation (held out)."""

    train: tuple[int, ...]
    val: tuple[int, ...]

    def frame_ids(self) -> list[int]:
        """All ids, ascending, each once."""
        return sorted({*self.train, *self.val})


def choose_split(
    settings: DataSettings,
    folder: DatasetFolder,
    untracked: Sequence[int] = (),
    own_split: Split | None = None,
) -> Split:
    """The split of a dataset.

    The first of these that is given: `settings.split_config`; `own_split`; `split.json` of the dataset folder; the last
    quarter of the tracked frames is held out. The split of the published configuration counts as not given unless
    `settings.published` is set. `settings.every` and `settings.max_frames` then thin out the training frames.

    Args:
        settings: of the data.
        folder: the dataset.
        untracked: ids of frames without tracking.
        own_split: for example the split of a checkpoint.

    Raises:
        UserError: a file cannot be read, or no frame was tracked.
    """
    named = settings.split_config
    if named is not None and _is_published_split(named):
        named = PUBLISHED_SPLIT
    if named == PUBLISHED_SPLIT and not settings.published:
        source = "the avatar's split" if own_split else _default_source(folder)
        get_logger(__name__).info(
            "%s is for the published example video; this dataset is split by %s (--published takes the file)",
            settings.split_config,
            source,
        )
        named = None
    if named is not None:
        split = read_split(named)
    elif own_split is not None:
        split = own_split
    elif folder.default_split.is_file():
        split = read_split(folder.default_split)
    else:
        tracked = set(folder.frame_ids()) - set(untracked)
        if not tracked:
            raise UserError(
                f"the tracking file has none of the frames of '{folder.root}'; track this dataset"
            )
        split = default_split(tracked)
    return thinned(split, settings.every, settings.max_frames)


def thinned(split: Split, every: int = 1, max_frames: int = 0) -> Split:
    """A split with fewer training frames; the held-out frames remain.

    Args:
        split: the split.
        every: keep every N-th training frame.
        max_frames: keep at most that many, spread over the video; 0 keeps all.
    """
    train = split.train[::every]
    if 0 < max_frames < len(train):
        train = tuple(train[len(train) * k // max_frames] for k in range(max_frames))
    return Split(train, split.val)


def _is_published_split(path: Path) -> bool:
    if not path.is_file():  # a working directory without a copy of the published configurations
        return path == Path("configs") / PUBLISHED_SPLIT.name
    return read_split(path) == read_split(PUBLISHED_SPLIT)


def _default_source(folder: DatasetFolder) -> str:
    return (
        str(folder.default_split)
        if folder.default_split.is_file()
        else "holding out the last quarter of its tracked frames"
    )


def default_split(frame_ids: Iterable[int], val_fraction: float = 0.25) -> Split:
    """Hold out the last `val_fraction` of the frames; both parts are contiguous in time.

    Frames that are held out at random would be too similar to neighbouring training frames. There is at least
    one training frame, and at least one held-out frame if there are two frames.
    """
    ids = sorted(frame_ids)
    n_val = min(max(1, round(val_fraction * len(ids))), len(ids) - 1)
    return Split(train=tuple(ids[: len(ids) - n_val]), val=tuple(ids[len(ids) - n_val :]))


def spread_split(
    frame_ids: Iterable[int], val_fraction: float = 0.2, gap: int = 10, blocks: int = 3
) -> Split:
    """Hold out blocks that are spread over the video, separated from the training frames.

    The last block is the end of the video. Frames within `gap` ids of a held-out frame are in neither part, because
    neighbouring frames are similar. There are fewer blocks if they would be shorter than the gap, and the gap is
    smaller if it would remove more than half of the training frames. There is at least one training frame, and at
    least one held-out frame if there are two frames.

    Args:
        frame_ids: ids of all frames.
        val_fraction: share of the frames to hold out.
        gap: number of ids between training and held-out frames.
        blocks: number of blocks.
    """
    ids = sorted(set(frame_ids))
    n_val = min(max(1, round(val_fraction * len(ids))), len(ids) - 1)
    blocks = max(1, min(blocks, n_val // max(gap, 1)))
    parts = [ids[len(ids) * k // blocks : len(ids) * (k + 1) // blocks] for k in range(blocks)]
    sizes = [n_val * (k + 1) // blocks - n_val * k // blocks for k in range(blocks)]
    val = [frame_id for part, size in zip(parts, sizes, strict=True) for frame_id in part[len(part) - size :]]
    train = sorted(set(ids) - set(val))
    separated = [frame_id for frame_id in train if distance_to(frame_id, val) > gap]
    while len(separated) < len(train) / 2:
        gap //= 2
        separated = [frame_id for frame_id in train if distance_to(frame_id, val) > gap]
    return Split(train=tuple(separated), val=tuple(val))


def distance_to(frame_id: int, others: Sequence[int]) -> float:
    """Distance from an id to the nearest of the others, which are ascending; infinite if there are none."""
    after = bisect_left(others, frame_id)
    return min((abs(frame_id - other) for other in others[max(after - 1, 0) : after + 1]), default=math.inf)


def read_split(path: str | Path) -> Split:
    """Read {"train": [ids], "val": [ids]}. Raises UserError for any other content and for an empty train part."""
    try:
        content = read_json(path, "utf-8-sig")  # some editors add a byte order mark
    except OSError as error:
        raise UserError(
            f"cannot read the split '{path}' ({error.strerror}); give one with --split_config"
        ) from None
    except (ValueError, RecursionError):
        raise UserError(
            f'the split \'{path}\' is not JSON; it must read {{"train": [ids], "val": [ids]}}'
        ) from None
    parts = [content.get(name) if isinstance(content, dict) else None for name in ("train", "val")]
    if not all(isinstance(ids, list) and all(type(i) is int for i in ids) for ids in parts):
        raise UserError(f'the split \'{path}\' must read {{"train": [ids], "val": [ids]}} with whole numbers')
    if not parts[0]:
        raise UserError(f"the split '{path}' has no training frames; add frame ids to \"train\"")
    return Split(train=tuple(parts[0]), val=tuple(parts[1]))


def write_split(path: str | Path, split: Split) -> None:
    """Write `split.json`, atomically."""
    write_json(path, {"train": list(split.train), "val": list(split.val)}, indent=None)


def check_split(split: Split, available: Sequence[int], dataset: str | Path) -> None:
    """Raise a UserError that lists frames that the dataset does not have, or that are in both parts of the split."""
    if both := sorted({*split.train} & {*split.val}):
        raise UserError(
            f"the split has frames {some_of(both)} in both parts, train and val; scores on them would not be held out: "
            "remove them from one part"
        )
    missing = sorted(set(split.frame_ids()) - set(available))
    if missing:
        raise UserError(
            f"the split names frames that '{dataset}' does not have: {some_of(missing, 20)}; "
            f"the dataset has {len(available)} frames, {available[0]} to {available[-1]}"
        )
