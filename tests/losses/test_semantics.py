"""Targets, predictions and weights of the semantic regions; masks and IoU."""

from __future__ import annotations

import pytest
import torch

from nha.core.conventions import Parsing, Segmentation
from nha.losses.hole_filling import hole_filling_loss, pooled_iou
from nha.losses.masks import foreground_mask, label_mask, parsing_mask
from nha.losses.semantics import ear_pair, eye_pair, hair_pair, mouth_pair


def row(*values: float) -> torch.Tensor:
    """One image of one row: [1, 1, 1, W]."""
    return torch.tensor(values, dtype=torch.float64)[None, None, None]


def parsing_row(*labels: Parsing) -> torch.Tensor:
    return torch.tensor([[[int(label) for label in labels]]])


def as_list(mask: torch.Tensor) -> list[bool]:
    return mask.flatten().tolist()


def test_foreground_is_neither_background_nor_clothes() -> None:
    labels = torch.tensor([[[int(label) for label in Segmentation]]])
    expected = [label not in (Segmentation.BACKGROUND, Segmentation.CLOTHES) for label in Segmentation]
    assert as_list(foreground_mask(labels)) == expected


def test_parsing_mask_takes_several_labels_and_unsigned_bytes() -> None:
    labels = parsing_row(Parsing.SKIN, Parsing.L_EAR, Parsing.R_EAR, Parsing.HAIR).to(torch.uint8)
    assert as_list(parsing_mask(labels, Parsing.L_EAR, Parsing.R_EAR)) == [False, True, True, False]


def test_label_images_have_no_channel_axis() -> None:
    with pytest.raises(ValueError, match="labels"):
        label_mask(torch.zeros(1, 1, 4, 4, dtype=torch.long), (0,))


def test_ears_are_one_region_with_sharpened_soft_weights() -> None:
    parsing = parsing_row(Parsing.L_EAR, Parsing.R_EAR, Parsing.HAIR, Parsing.SKIN)
    pair = ear_pair(row(1, 0, 0.98, 0), row(0, 1, 0, 0), row(0.5, 0, 0.5, 0), row(0.25, 1, 0, 0), parsing)
    assert as_list(pair.prediction) == [True, True, False, False]
    assert as_list(pair.target) == [True, True, False, False]
    assert pair.pixel_weight.flatten().tolist() == pytest.approx([0.75**10, 1, 0.5**10, 0])
    assert pair.sigma == 2.0


def test_eyes_and_mouth_are_complements() -> None:
    parsing = parsing_row(Parsing.L_EYE, Parsing.R_EYE, Parsing.SKIN, Parsing.MOUTH)
    eyes = eye_pair(row(1, 0, 0.98, 0), row(0, 0.99, 0, 0), parsing)
    assert as_list(eyes.prediction) == [False, False, True, True]
    assert as_list(eyes.target) == [False, False, True, True]
    mouth = mouth_pair(row(0, 0.5, 1, 1), parsing)
    assert as_list(mouth.prediction) == [True, True, False, False]
    assert as_list(mouth.target) == [True, True, True, False]
    assert eyes.sigma == mouth.sigma == 1.0
    assert eyes.pixel_weight is None


def test_hair_and_skin() -> None:
    parsing = parsing_row(Parsing.HAIR, Parsing.NECKLACE, Parsing.CLOTH, Parsing.BACKGROUND)
    pair = hair_pair(
        alpha=row(1, 1, 1, 0),
        scalp=row(1, 1, 0.5, 0),
        neck=row(0.99, 1, 0, 0),
        soft_scalp=row(0.9, 0.5, 0.5, 0),
        soft_neck=row(0, 0.5, 1, 0),
        parsing=parsing,
    )
    hair, skin = pair.prediction[0, :, 0].tolist()
    assert hair == [True, False, False, False]
    assert skin == [False, True, True, False]
    hair, skin = pair.target[0, :, 0].tolist()
    assert hair == [True, False, False, False]
    assert skin == [False, True, False, False]  # a necklace counts as skin, cloth does not
    hair, skin = pair.pixel_weight[0, :, 0].tolist()
    assert hair == pytest.approx([0.9**10, 0.25**10, 0, 0])
    assert skin == pytest.approx([0.1**10, 0.75**10, 1, 0])


def test_pixel_weights_give_their_labels_no_gradient() -> None:
    soft = row(*[0.7] * 16).reshape(1, 1, 4, 4).requires_grad_()
    hard = torch.ones(1, 1, 4, 4, dtype=torch.float64)
    pair = ear_pair(hard, hard, soft, 0 * hard, torch.full((1, 4, 4), int(Parsing.L_EAR)))
    screen = torch.zeros(1, 4, 4, 2, dtype=torch.float64, requires_grad=True)
    hole_filling_loss(pair, screen).backward()
    assert soft.grad is None


def test_iou_pools_over_the_batch() -> None:
    prediction = torch.tensor([[1, 1, 0, 0], [1, 0, 0, 0]], dtype=torch.bool)[:, None, None]
    target = torch.tensor([[1, 0, 0, 0], [1, 1, 1, 0]], dtype=torch.bool)[:, None, None]
    assert pooled_iou(prediction, target).item() == pytest.approx(2 / 5)
    assert pooled_iou(target, target).item() == 1
    assert pooled_iou(target & False, target & False).item() == 1
    assert pooled_iou(target & False, target).item() == 0
    with pytest.raises(ValueError, match="differ in shape"):
        pooled_iou(prediction, target[:1])
