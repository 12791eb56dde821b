"""From frames on disk to what a stage compares with."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from nha.tracking.fit import Observation
from nha.tracking.frames import TrackingFrames


def observe(
    frames: TrackingFrames, rows: Sequence[int], device: torch.device, with_masks: bool
) -> Observation:
    """Read the pictures (and face masks) of some frames."""
    rows = list(rows)
    return Observation(
        pictures=frames.pictures(rows),
        face_masks=frames.face_masks(rows) if with_masks else None,
        landmarks_px=frames.landmarks_px[rows],
        confidence=frames.confidence[rows],
    ).to(device)
