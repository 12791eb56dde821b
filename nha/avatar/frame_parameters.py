"""Learned corrections of the tracked parameters: one set for each frame, and one head shape."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from nha.core.types import HeadParams

FRAME_FIELD_SIZES = {"neck": 3, "jaw": 3, "eyes": 6, "translation": 3, "rotation": 3}  # and expr: n_expr


class FrameParameters(nn.Module):
    """Learned corrections, initialised to zero, indexed by frame id. Paper sec. 3.4; `docs/method.md`, section 3.

    Attributes:
        shape: [1, n_shape].
        expr: [F, n_expr] with F = max_frame_id + 1; rows of frames that the dataset lacks stay zero.
        neck, jaw, translation, rotation: [F, 3].
        eyes: [F, 6].
    """

    def __init__(self, max_frame_id: int, n_shape: int = 300, n_expr: int = 100):
        super().__init__()
        n_frames = max_frame_id + 1
        self.shape = nn.Parameter(torch.zeros(1, n_shape))
        self.expr = nn.Parameter(torch.zeros(n_frames, n_expr))
        for name, size in FRAME_FIELD_SIZES.items():
            self.register_parameter(name, nn.Parameter(torch.zeros(n_frames, size)))

    @property
    def max_frame_id(self) -> int:
        return len(self.expr) - 1

    def corrected(self, tracked: HeadParams, frame_id: Tensor | None) -> HeadParams:
        """Tracked parameters plus the learned corrections.

        Args:
            tracked: N sets of head parameters.
            frame_id: [N] long. For None and for ids that the tables lack (free posing, another video) only the learned
                shape is added.
        """
        own = self._rows(frame_id, len(tracked))
        names = tuple(self._tables())
        changed = torch.cat([getattr(tracked, name) for name in names], 1) + own
        return tracked.replace(shape=tracked.shape + self.shape, **self._by_name(changed))

    def for_frames(self, frame_id: Tensor | None, n: int) -> Mapping[str, Tensor]:
        """The corrections of N frames by name, [N, size] each; zero where a frame is not in the tables."""
        return self._by_name(self._rows(frame_id, n))

    def _rows(self, frame_id: Tensor | None, n: int) -> Tensor:
        """The corrections of N frames, one table beside the other: each operation costs a launch."""
        tables = list(self._tables().values())
        if frame_id is None:
            return tables[0].new_zeros(n, sum(table.shape[1] for table in tables))
        row = frame_id.clamp(0, self.max_frame_id)
        # the gradient of an index_select is one sum; that of indexing sorts the rows
        return torch.cat(tables, 1).index_select(0, row) * (row == frame_id)[:, None]

    def _by_name(self, rows: Tensor) -> Mapping[str, Tensor]:
        sizes = {name: table.shape[1] for name, table in self._tables().items()}
        return dict(zip(sizes, rows.split(list(sizes.values()), 1), strict=True))

    def _tables(self) -> dict[str, Tensor]:
        return {name: getattr(self, name) for name in ("expr", *FRAME_FIELD_SIZES)}
