"""Intersection over union, for the log."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def pooled_iou(prediction: Tensor, target: Tensor) -> Tensor:
    """Intersection over union, pooled over the batch and the channels; 1 where both are empty.

    prediction, target: bool [N, C, H, W]. Returns a scalar in 0..1 without gradient.
    """
    if prediction.shape != target.shape:
        raise ValueError(
            f"prediction {tuple(prediction.shape)} and target {tuple(target.shape)} differ in shape"
        )
    union = (prediction | target).sum()
    intersection = (prediction & target).sum()
    return torch.where(union > 0, intersection / union.clamp_min(1), 1.0)
