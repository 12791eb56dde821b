"""Pairs of semantic regions for the hole-filling term: ears, eyes, mouth and hair. Method, section 4.

Every function takes the G-buffer's label channels it needs ([N, 1, H, W], interpolated vertex labels, 0..1, 0
on the background) and the face parsing ([N, H, W] `Parsing` labels) and returns a `SegmentationPair`. The
caller selects the channels by part name. The eye and mouth terms are for frames whose semantics can be
trusted: hand the semantic trust [N] to `hole_filling_loss` as the sample weight.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nha.core.conventions import Parsing
from nha.losses.hole_filling import SegmentationPair
from nha.losses.masks import parsing_mask

INSIDE_PART = 0.99  # an interpolated hard label above this has all three corners in the part
WEIGHT_POWER = 10  # sharpens the soft labels into pixel weights that only live well inside a region


def ear_pair(
    left_ear: Tensor, right_ear: Tensor, soft_left_ear: Tensor, soft_right_ear: Tensor, parsing: Tensor
) -> SegmentationPair:
    """Both ears as one region, weighted by how surely a pixel is one. Hard and soft labels [N, 1, H, W]."""
    return SegmentationPair(
        prediction=(left_ear > INSIDE_PART) | (right_ear > INSIDE_PART),
        target=parsing_mask(parsing, Parsing.L_EAR, Parsing.R_EAR),
        sigma=2.0,
        pixel_weight=(soft_left_ear + soft_right_ear) ** WEIGHT_POWER,
    )


def eye_pair(left_eyeball: Tensor, right_eyeball: Tensor, parsing: Tensor) -> SegmentationPair:
    """Everything that is no visible eyeball: the complement, because it is the lids that have to move."""
    return SegmentationPair(
        prediction=(left_eyeball < INSIDE_PART) & (right_eyeball < INSIDE_PART),
        target=~parsing_mask(parsing, Parsing.L_EYE, Parsing.R_EYE),
        sigma=1.0,
    )


def mouth_pair(mouth: Tensor, parsing: Tensor) -> SegmentationPair:
    """Everything that is no mouth interior: the complement, because it is the lips that have to move."""
    return SegmentationPair(
        prediction=mouth < INSIDE_PART, target=~parsing_mask(parsing, Parsing.MOUTH), sigma=1.0
    )


def hair_pair(
    alpha: Tensor, scalp: Tensor, neck: Tensor, soft_scalp: Tensor, soft_neck: Tensor, parsing: Tensor
) -> SegmentationPair:
    """Hair and skin as two channels, each weighted by how surely a pixel is one of them.

    alpha, hard and soft labels: [N, 1, H, W]. Hair is the scalp without the neck, skin everything else that
    is drawn.
    """
    drawn = alpha > 0.5
    hair = (scalp > INSIDE_PART) & (neck <= INSIDE_PART)
    skin = drawn & ~hair
    hair_target = parsing_mask(parsing, Parsing.HAIR)
    skin_target = ~parsing_mask(parsing, Parsing.BACKGROUND, Parsing.CLOTH, Parsing.HAIR)
    hair_confidence = soft_scalp * (1 - soft_neck)
    return SegmentationPair(
        prediction=torch.cat([hair, skin], 1),
        target=torch.cat([hair_target, skin_target], 1),
        sigma=2.0,
        pixel_weight=torch.cat([hair_confidence, alpha * (1 - hair_confidence)], 1) ** WEIGHT_POWER,
    )
