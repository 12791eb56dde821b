"""Which frames an avatar is trained on and which are held out: `split.json`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nha.core.errors import UserError
from nha.core.system import atomic_path
from nha.data.messages import some_of


@dataclass(frozen=True)
class Split:
    """Frame ids for training and for validation (held out)."""

    train: tuple[int, ...]
    val: tuple[int, ...]

    def frame_ids(self) -> list[int]:
        """All ids, ascending, each once."""
        return sorted({*self.train, *self.val})


def default_split(frame_ids: Iterable[int], val_fraction: float = 0.25) -> Split:
    """The last `val_fraction` of the frames is held out; both parts are contiguous in time.

    Neighbouring frames look alike: frames picked at random would not be held out in earnest. At least one
    frame is trained on, and one held out where there are two.
    """
    ids = sorted(frame_ids)
    n_val = min(max(1, round(val_fraction * len(ids))), len(ids) - 1)
    return Split(train=tuple(ids[: len(ids) - n_val]), val=tuple(ids[len(ids) - n_val :]))


def read_split(path: str | Path) -> Split:
    """Read {"train": [ids], "val": [ids]}. Raises UserError for anything else and for an empty train part."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"cannot read the split '{path}' ({error.strerror}); give one with --split_config"
        ) from None
    except ValueError:
        raise UserError(
            f'the split \'{path}\' is not JSON; it must read {{"train": [ids], "val": [ids]}}'
        ) from None
    parts = [content.get(name) if isinstance(content, dict) else None for name in ("train", "val")]
    if not all(isinstance(ids, list) and all(type(i) is int for i in ids) for ids in parts):
        raise UserError(f'the split \'{path}\' must read {{"train": [ids], "val": [ids]}} with whole numbers')
    if not parts[0]:
        raise UserError(f"the split '{path}' names no frame to train on; add frame ids to \"train\"")
    return Split(train=tuple(parts[0]), val=tuple(parts[1]))


def write_split(path: str | Path, split: Split) -> None:
    """Write `split.json`, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps({"train": list(split.train), "val": list(split.val)}) + "\n", "utf-8")


def check_split(split: Split, available: Sequence[int], dataset: str | Path) -> None:
    """Raise a UserError that lists the frames which the split names and the dataset does not have."""
    missing = sorted(set(split.frame_ids()) - set(available))
    if missing:
        raise UserError(
            f"the split names frames that '{dataset}' does not have: {some_of(missing, 20)}; "
            f"the dataset has {len(available)} frames, {available[0]} to {available[-1]}"
        )
