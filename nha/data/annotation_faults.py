"""The cheap checks of a dataset's annotations, which training makes before it starts; `dataset_check` makes all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from nha.core.plain_file import open_plain
from nha.core.system import get_logger
from nha.core.text import shortened
from nha.data.dataset_folder import DatasetFolder, read_keypoints
from nha.data.findings import Fault
from nha.data.frame_checks import FrameAnnotations, FrameFault, check_labels, check_landmarks, check_masks
from nha.data.frame_store import FrameStore
from nha.data.messages import some_of

MOST_FRAMES = 64  # that are looked at, spread over all

_PNG_START, _PALETTE = b"\x89PNG\r\n\x1a\n", 3
_COLOUR_TYPE = 25  # position in a PNG file

_logger = get_logger(__name__)


def report_annotation_faults(folder: DatasetFolder, store: FrameStore, frame_ids: Sequence[int]) -> None:
    """Log a line for each kind of fault: the frames, an example, and what to do.

    Args:
        folder: the dataset.
        store: decoded images of its frames.
        frame_ids: the frame of each row of `store`.
    """
    found: dict[Fault, list[tuple[int, str]]] = {}
    rows = np.unique(np.linspace(0, len(frame_ids) - 1, min(len(frame_ids), MOST_FRAMES)).round().astype(int))
    for row in rows.tolist():
        for fault, detail in _frame_faults(folder, store, row, frame_ids[row]):
            found.setdefault(fault, []).append((frame_ids[row], detail))
    for fault, frames in found.items():
        ids = list(dict.fromkeys(frame_id for frame_id, _ in frames))
        _logger.warning(
            "%s in %d of %d frames that were looked at (%s; frame %d: %s): %s",
            fault.title, len(ids), len(rows), some_of(ids, 4), ids[0], shortened(frames[0][1]), fault.advice,
        )  # fmt: skip
    if found:
        _logger.warning("`nha check dataset %s` checks all frames", folder.root)


def _frame_faults(folder: DatasetFolder, store: FrameStore, row: int, frame_id: int) -> Iterator[FrameFault]:
    paths, images = folder.paths(frame_id), store.read([row])
    for path in (paths.parsing, paths.segmentation):
        if (kind := unsuitable_kind(path)) is not None:
            yield Fault.LABELS, f"{path.name} is {kind}"
    frame = FrameAnnotations(
        keypoints=read_keypoints(paths.keypoints),
        parsing=images.parsing[0],
        segmentation=images.segmentation[0],
        normals=np.zeros((*images.parsing.shape[1:], 3), np.float32),  # these checks do not look at them
    )
    for check in (check_labels, check_landmarks, check_masks):
        yield from check(frame)


def unsuitable_kind(path: Path) -> str | None:
    """What kind of image a label file is that does not keep labels as they are; None for a grey PNG."""
    with open_plain(path) as file:
        start = file.read(_COLOUR_TYPE + 1)
    if not start.startswith(_PNG_START):
        return "no PNG, so its labels may have been changed by compression"
    return "an image with a palette, whose labels are replaced by colours" if start[-1] == _PALETTE else None
