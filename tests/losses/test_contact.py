"""The terms that keep lips and eyelids right: gaps, contact, stretch."""

from __future__ import annotations

import pytest
import torch

from nha.core.conventions import INNER_LIP_PAIRS
from nha.losses.contact import (
    CONTACT_PAIRS,
    NEAR_METRES,
    NOISE,
    contact_loss,
    feature_edges,
    gap_loss,
    stretch_loss,
)

UNIT_PX = torch.tensor([50.0], dtype=torch.float64)
N_PAIRS = len(CONTACT_PAIRS)


def face() -> torch.Tensor:
    """[1, 68, 2] pixels: eye corners 50 pixels apart, chin below the nose, every lower point 5 below its upper one."""
    points = 100 * torch.rand(1, 68, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    points[0, 36], points[0, 45] = torch.tensor([25.0, 40]), torch.tensor([75.0, 40])
    points[0, 27], points[0, 8] = torch.tensor([50.0, 40]), torch.tensor([50.0, 110])
    for upper, lower in CONTACT_PAIRS:
        points[0, lower] = points[0, upper] + torch.tensor([0.0, 5.0])
    return points


def loss(drawn: torch.Tensor, target: torch.Tensor, confidence: torch.Tensor | None = None) -> torch.Tensor:
    confidence = torch.ones(1, 68, dtype=torch.float64) if confidence is None else confidence
    return gap_loss(drawn, target, confidence, UNIT_PX)


def opened(by_px: float, sideways_px: float = 0.0) -> torch.Tensor:
    points, (_, lower) = face(), INNER_LIP_PAIRS[1]
    points[0, lower] += torch.tensor([sideways_px, by_px])
    return points


def test_gap_costs_what_it_differs_from_the_detected_one() -> None:
    assert loss(face(), face()).item() == 0
    large = 10 / 50
    assert loss(opened(10), face()).item() == pytest.approx((large - NOISE / 2) / N_PAIRS)
    small = 0.2 / 50  # below the noise
    assert loss(opened(0.2), face()).item() == pytest.approx(small**2 / (2 * NOISE) / N_PAIRS)


def test_crossed_lips_are_pushed_apart() -> None:
    """The distance of crossed lips would be as large as that of open ones; the gap is negative."""
    crossed = opened(-10).requires_grad_()
    target = opened(-5)  # closed
    loss(crossed, target).backward()
    lower = INNER_LIP_PAIRS[1][1]
    assert crossed.grad[0, lower, 1] < 0  # downhill is down in the image
    assert loss(opened(-15), target) > loss(crossed, target) > 0


def test_moving_together_or_sideways_costs_nothing() -> None:
    assert loss(opened(0, sideways_px=8), face()).item() == 0
    assert loss(face() + 7, face()).item() == pytest.approx(0, abs=1e-12)


def test_a_turned_face_and_an_uncertain_point_count_less() -> None:
    turned = opened(10)
    turned[0, 45, 0] = 50  # half of the frontal eye distance
    straight = loss(opened(10), face())
    assert loss(turned, face()).item() == pytest.approx(straight.item() / 4)
    confidence = torch.ones(1, 68, dtype=torch.float64)
    confidence[0, INNER_LIP_PAIRS[1][1]] = 0.5
    assert loss(opened(10), face(), confidence).item() == pytest.approx(straight.item() / 2)


def test_a_point_without_confidence_may_be_nan() -> None:
    target, confidence, drawn = face(), torch.ones(1, 68, dtype=torch.float64), opened(10).requires_grad_()
    target[0, INNER_LIP_PAIRS[0][0]] = float("nan")
    confidence[0, INNER_LIP_PAIRS[0][0]] = 0
    loss(drawn, target, confidence).backward()
    assert drawn.grad.isfinite().all()
    assert drawn.grad.any()


def test_contact_keeps_offsets_of_meeting_points_equal() -> None:
    offsets = torch.randn(1, 70, 3).expand(2, 70, 3).clone()
    upper, lower = map(list, zip(*CONTACT_PAIRS, strict=True))
    offsets[:, lower] = offsets[:, upper]
    assert contact_loss(offsets).item() == 0
    offsets[:, lower[0], 0] += 0.002  # two millimetres sideways
    apart = contact_loss(offsets)
    assert apart.item() == pytest.approx((2 - 0.15) / N_PAIRS, rel=1e-4)


def test_stretch_is_relative_to_the_length_of_an_edge() -> None:
    edges, length = torch.tensor([[0, 1], [1, 2]]), torch.tensor([0.002, 0.004])
    offsets = torch.zeros(1, 3, 3)
    offsets[0, 0, 1] = 0.001
    assert stretch_loss(offsets, edges, length).item() == pytest.approx(0.5**2 / 2)
    assert stretch_loss(offsets + 1, edges, length).item() == pytest.approx(0.5**2 / 2, rel=1e-3)


def test_only_edges_near_lips_and_eyes_are_kept() -> None:
    landmarks = torch.zeros(70, 3)
    landmarks[36:] = torch.tensor([0.1, 0, 0])
    vertices = torch.tensor([[0.1, 0, 0], [0.1, 0.001, 0], [0, 0, 0], [0.1 + 3 * NEAR_METRES, 0, 0]])
    edges, length = feature_edges(torch.tensor([[0, 1], [1, 2], [0, 3]]), vertices, landmarks)
    assert edges.tolist() == [[0, 1]]
    assert length.item() == pytest.approx(0.001)
