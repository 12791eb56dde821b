"""Binary masks from the label images of the dataset."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from nha.core.constants import constant
from nha.core.conventions import Parsing, Segmentation
from nha.core.device import uses_cpu_kernels
from nha.losses.shapes import expect_shape


def label_mask(labels: Tensor, wanted: Iterable[int]) -> Tensor:
    """Mask bool [N, 1, H, W] of the pixels of a label image [N, H, W] that have one of the wanted labels."""
    expect_shape("labels", labels, None, None, None)
    if not uses_cpu_kernels(labels.device):  # one launch instead of two for each label
        chosen = tuple(map(int, wanted))
        return constant(tuple(label in chosen for label in range(256)), labels, torch.bool)[labels.long()][
            :, None
        ]
    mask = torch.zeros_like(labels, dtype=torch.bool)
    for label in wanted:
        mask |= labels == int(label)
    return mask[:, None]


def parsing_mask(parsing: Tensor, *wanted: Parsing) -> Tensor:
    """Mask bool [N, 1, H, W] of the pixels of a face parsing [N, H, W] that have one of the wanted labels."""
    return label_mask(parsing, wanted)


def foreground_mask(segmentation: Tensor) -> Tensor:
    """Mask bool [N, 1, H, W] of the person without the clothes, from segmentation labels [N, H, W]."""
    return ~label_mask(segmentation, (Segmentation.BACKGROUND, Segmentation.CLOTHES))


def whiten_background(rgb01: Tensor, segmentation: Tensor) -> Tensor:
    """Images in which background and clothes are white, like the background of rendered images.

    Args:
        rgb01: [N, 3, H, W] in 0..1.
        segmentation: [N, H, W] labels.

    Returns:
        [N, 3, H, W] in 0..1.
    """
    return torch.where(foreground_mask(segmentation), rgb01, 1.0)
