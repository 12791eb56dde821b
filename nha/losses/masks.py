"""Binary masks from the data set's label pictures."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from nha.core.conventions import Parsing, Segmentation
from nha.losses.shapes import expect_shape


def label_mask(labels: Tensor, wanted: Iterable[int]) -> Tensor:
    """Where a label picture shows one of the wanted labels: [N, H, W] integers give bool [N, 1, H, W]."""
    expect_shape("labels", labels, None, None, None)
    mask = torch.zeros_like(labels, dtype=torch.bool)
    for label in wanted:
        mask |= labels == int(label)
    return mask[:, None]


def parsing_mask(parsing: Tensor, *wanted: Parsing) -> Tensor:
    """Where the face parsing shows one of the wanted labels: [N, H, W] gives bool [N, 1, H, W]."""
    return label_mask(parsing, wanted)


def foreground_mask(segmentation: Tensor) -> Tensor:
    """The person without the clothes: [N, H, W] segmentation labels give bool [N, 1, H, W]."""
    return ~label_mask(segmentation, (Segmentation.BACKGROUND, Segmentation.CLOTHES))
