"""Curves and images of a tracking run for TensorBoard, in `logs` beside the results."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from nha.core.paths import is_unicode
from nha.core.system import get_logger

LOG_FOLDER = "logs"

_logger = get_logger(__name__)


class TensorBoardLog:
    """Writes energies, errors and images of a run.

    Energies are counted per stage (one point each time that visibility is found), errors and images by frame id.
    """

    def __init__(self, writer: SummaryWriter | None) -> None:
        """writer: None writes nothing."""
        self._writer = writer
        self._points: Counter[str] = Counter()

    def energies(self, stage_name: str, terms: Mapping[str, Tensor]) -> None:
        """Add the unweighted terms of a stage's energy."""
        if self._writer is None:
            return
        for name, term in terms.items():
            self._writer.add_scalar(f"{stage_name}/{name}", float(term), self._points[stage_name])
        self._points[stage_name] += 1

    def frame_errors(self, frame_id: int, errors: Mapping[str, float | None]) -> None:
        """Add the errors of a tracked frame; None is left out."""
        for name, error in errors.items():
            if error is not None and self._writer is not None:
                self._writer.add_scalar(f"frames/{name}", error, frame_id)

    def image(self, name: str, rgb: np.ndarray, frame_id: int) -> None:
        """Add an image uint8 [H, W, 3]."""
        if self._writer is not None:
            self._writer.add_image(name, rgb, frame_id, dataformats="HWC")


@contextlib.contextmanager
def open_tensorboard_log(folder: Path) -> Iterator[TensorBoardLog]:
    """A log in `folder`; files of earlier runs stay. Nothing is written where TensorBoard cannot take the name."""
    if not is_unicode(folder):
        _logger.warning("no curves for TensorBoard: the name of the output folder is no UTF-8")
        yield TensorBoardLog(None)
        return
    with SummaryWriter(str(folder / LOG_FOLDER)) as writer:
        yield TensorBoardLog(writer)
