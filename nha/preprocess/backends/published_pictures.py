"""Pictures as the published networks take them, and how many at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

# What the parsing and the normal network see: colours in 0..1, or 0.5..1, from which published datasets were made.
InputRange = Literal["plain", "published"]

FRAMES_ON_AN_ACCELERATOR = 8


def frames_at_a_time(device: torch.device) -> int:
    """One on a CPU: there several cost as much each, and then a resumed run gives the same bits."""
    return 1 if device.type == "cpu" else FRAMES_ON_AN_ACCELERATOR


def to_planes01(pictures: Sequence[np.ndarray], device: torch.device) -> Tensor:
    """Pictures [H, W, 3] of one size, uint8 or float32 in 0..255, as [N, 3, H, W] in 0..1, channels last in memory."""
    stacked = torch.from_numpy(np.stack(pictures)).to(device)
    return stacked.permute(0, 3, 1, 2).float() / 255


def in_range(rgb01: Tensor, input_range: InputRange) -> Tensor:
    """Colours in 0..1, or moved into 0.5..1."""
    return rgb01 if input_range == "plain" else rgb01 * 0.5 + 0.5


def range_note(input_range: InputRange) -> str:
    """For an estimator's name, which tells one dataset from another."""
    return "" if input_range == "plain" else " (sees colours in 0.5..1, as published)"
