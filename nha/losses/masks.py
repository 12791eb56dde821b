"""Binary masks from the label images of the dataset."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from nha.core.conventions import Parsing, Segmentation
from nha.losses.shapes import expect_shape


def label_mask(labels: Tensor, wanted: Iterable[int]) -> Tensor:
    """Where a label image has one of the wanted labels: [N, H, W] integers give bool [N, 1, H, W]."""
    expect_shape("labels", labels, None, None, None)
    mask = torch.zeros_like(labels, dtype=torch.bool)
    for label in wanted:
        mask |= labels == int(label)
    return mask[:, None]


def parsing_mask(parsing: Tensor, *wanted: Parsing) -> Tensor:
    """Where the face parsing has one of the wanted labels: [N, H, W] gives bool [N, 1, H, W]."""
    return label_mask(parsing, wanted)


def foreground_mask(segmentation: Tensor) -> Tensor:
    """The person without the clothes: [N, H, W] segmentation labels give bool [N, 1, H, W]."""
    return ~label_mask(segmentation, (Segmentation.BACKGROUND, Segmentation.CLOTHES))


def whiten_background(rgb01: Tensor, segmentation: Tensor) -> Tensor:
    """The image with white in place of background and clothes, as the avatar is rendered.

    rgb01: [N, 3, H, W]; segmentation: [N, H, W]. Returns [N, 3, H, W].
    """
    return torch.where(foreground_mask(segmentation), rgb01, 1.0)
