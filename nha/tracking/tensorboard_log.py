"""Curves and images of a tracking run for TensorBoard, in `logs` beside the results."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

LOG_FOLDER = "logs"


class TensorBoardLog:
    """Writes energies, errors and images of a run.

    Energies are counted per stage (one point each time that visibility is found), errors and images by frame id.
    """

    def __init__(self, writer: SummaryWriter) -> None:
        self._writer = writer
        self._points: Counter[str] = Counter()

    def energies(self, stage_name: str, terms: Mapping[str, Tensor]) -> None:
        """Add the unweighted terms of a stage's energy."""
        for name, term in terms.items():
            self._writer.add_scalar(f"{stage_name}/{name}", float(term), self._points[stage_name])
        self._points[stage_name] += 1

    def frame_errors(self, frame_id: int, errors: Mapping[str, float | None]) -> None:
        """Add the errors of a tracked frame; None is left out."""
        for name, error in errors.items():
            if error is not None:
                self._writer.add_scalar(f"frames/{name}", error, frame_id)

    def image(self, name: str, rgb: np.ndarray, frame_id: int) -> None:
        """Add an image uint8 [H, W, 3]."""
        self._writer.add_image(name, rgb, frame_id, dataformats="HWC")


@contextlib.contextmanager
def open_tensorboard_log(folder: Path) -> Iterator[TensorBoardLog]:
    """A log in `folder`; files of earlier runs stay."""
    with SummaryWriter(str(folder / LOG_FOLDER)) as writer:
        yield TensorBoardLog(writer)
