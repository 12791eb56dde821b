"""Pairs of semantic regions for the hole-filling loss: ears, eyes, mouth and hair. `docs/method.md`, section 4.

Each `*_pair` function takes label channels of the G-buffer ([N, 1, H, W], interpolated hard or soft vertex labels in
0..1, 0 on the background) and the face parsing ([N, H, W], labels of `Parsing`), and returns a `SegmentationPair`. The
eye and mouth terms weight each frame by its semantic trust.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from nha.core.conventions import Parsing
from nha.losses.hole_filling import SegmentationPair
from nha.losses.inputs import LossInputs
from nha.losses.masks import parsing_mask

INSIDE_PART = 0.99  # an interpolated hard label above this has all three corners in the part
WEIGHT_POWER = 10  # sharpens the soft labels, so that pixel weights are near 0 except well inside a region


def ear_pair(
    left_ear: Tensor, right_ear: Tensor, soft_left_ear: Tensor, soft_right_ear: Tensor, parsing: Tensor
) -> SegmentationPair:
    """The pair of both ears as one region, weighted by the sharpened soft labels."""
    return SegmentationPair(
        prediction=(left_ear > INSIDE_PART) | (right_ear > INSIDE_PART),
        target=parsing_mask(parsing, Parsing.L_EAR, Parsing.R_EAR),
        sigma=2.0,
        pixel_weight=(soft_left_ear + soft_right_ear) ** WEIGHT_POWER,
    )


def eye_pair(left_eyeball: Tensor, right_eyeball: Tensor, parsing: Tensor) -> SegmentationPair:
    """The pair of the *complements* of the visible eyeballs, because the eyelids are the surface that has to move."""
    return SegmentationPair(
        prediction=(left_eyeball < INSIDE_PART) & (right_eyeball < INSIDE_PART),
        target=~parsing_mask(parsing, Parsing.L_EYE, Parsing.R_EYE),
        sigma=1.0,
    )


def mouth_pair(mouth: Tensor, parsing: Tensor) -> SegmentationPair:
    """The pair of the *complements* of the mouth's interior, because the lips are the surface that has to move."""
    return SegmentationPair(
        prediction=mouth < INSIDE_PART, target=~parsing_mask(parsing, Parsing.MOUTH), sigma=1.0
    )


def hair_pair(
    alpha: Tensor, scalp: Tensor, neck: Tensor, soft_scalp: Tensor, soft_neck: Tensor, parsing: Tensor
) -> SegmentationPair:
    """The pair of hair and skin as two channels, each weighted by its sharpened confidence.

    Hair is the scalp without the neck, skin is the rest of the rendered surface.
    """
    rendered = alpha > 0.5
    hair = (scalp > INSIDE_PART) & (neck <= INSIDE_PART)
    skin = rendered & ~hair
    hair_target = parsing_mask(parsing, Parsing.HAIR)
    skin_target = ~parsing_mask(parsing, Parsing.BACKGROUND, Parsing.CLOTH, Parsing.HAIR)
    hair_confidence = soft_scalp * (1 - soft_neck)
    return SegmentationPair(
        prediction=torch.cat([hair, skin], 1),
        target=torch.cat([hair_target, skin_target], 1),
        sigma=2.0,
        pixel_weight=torch.cat([hair_confidence, alpha * (1 - hair_confidence)], 1) ** WEIGHT_POWER,
    )


def ear_term(inputs: LossInputs) -> SegmentationPair:
    """The ears of a rendered batch."""
    left, right = "left_ear", "right_ear"
    labels = (inputs.hard(left), inputs.hard(right), inputs.soft(left), inputs.soft(right))
    return ear_pair(*labels, inputs.batch.parsing)


def eye_term(inputs: LossInputs) -> SegmentationPair:
    """The eyes of a rendered batch, weighted by the semantic trust."""
    pair = eye_pair(inputs.hard("left_eyeball"), inputs.hard("right_eyeball"), inputs.batch.parsing)
    return replace(pair, sample_weight=inputs.semantic_trust)


def mouth_term(inputs: LossInputs) -> SegmentationPair:
    """The interior of the mouth of a rendered batch, weighted by the semantic trust."""
    pair = mouth_pair(inputs.hard("mouth"), inputs.batch.parsing)
    return replace(pair, sample_weight=inputs.semantic_trust)


def hair_term(inputs: LossInputs) -> SegmentationPair:
    """Hair and skin of a rendered batch."""
    labels = (inputs.hard("scalp"), inputs.hard("neck"), inputs.soft("scalp"), inputs.soft("neck"))
    return hair_pair(inputs.rendering.alpha, *labels, inputs.batch.parsing)
