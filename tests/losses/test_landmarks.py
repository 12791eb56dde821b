"""The landmark term and the eye closure term."""

from __future__ import annotations

import pytest
import torch

from nha.core.conventions import EYE_CLOSURE_PAIRS, MID_LID_LANDMARKS
from nha.losses.landmarks import eye_closure_loss, landmark_loss

IMAGE_SIZE = (100, 200)
TRUST = torch.tensor([1.0, 0.25], dtype=torch.float64)


def landmarks(n: int = 2, seed: int = 0) -> torch.Tensor:
    return 100 * torch.rand(n, 68, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def certain(n: int = 2) -> torch.Tensor:
    return torch.ones(n, 68, dtype=torch.float64)


def test_identical_landmarks_cost_nothing() -> None:
    assert landmark_loss(landmarks(), landmarks(), certain(), IMAGE_SIZE).item() == 0


def test_value_by_hand() -> None:
    moved = landmarks()
    moved[0, 5] += torch.tensor([10.0, -10.0])  # 10 / (200 / 2) + 10 / (100 / 2) = 0.3
    confidence = certain()
    confidence[0, 5] = 0.5
    loss = landmark_loss(moved, landmarks(), confidence, IMAGE_SIZE)
    assert loss.item() == pytest.approx(0.5 * 0.3 / (2 * 68))


def test_mid_lids_do_not_count_and_confidence_is_not_changed() -> None:
    moved, confidence = landmarks(), certain()
    moved[:, list(MID_LID_LANDMARKS)] += 7
    assert landmark_loss(moved, landmarks(), confidence, IMAGE_SIZE).item() == 0
    assert confidence.all()


def test_landmark_gradient() -> None:
    confidence = torch.rand(2, 68, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda x: landmark_loss(x, landmarks(seed=1), confidence, IMAGE_SIZE), landmarks().requires_grad_()
    )


def test_a_point_without_confidence_may_be_nan() -> None:
    target, confidence, rendered = landmarks(seed=1), certain(), landmarks().requires_grad_()
    target[0, 3] = float("nan")
    confidence[0, 3] = 0
    loss = landmark_loss(rendered, target, confidence, IMAGE_SIZE)
    loss.backward()
    assert loss.isfinite()
    assert rendered.grad.isfinite().all()
    assert not rendered.grad[0, 3].any()


def test_a_batch_of_landmarks_is_the_mean_of_its_frames() -> None:
    a, b = landmarks(), landmarks(seed=1)
    single = [landmark_loss(a[i : i + 1], b[i : i + 1], certain(1), IMAGE_SIZE).item() for i in (0, 1)]
    assert landmark_loss(a, b, certain(), IMAGE_SIZE).item() == pytest.approx(sum(single) / 2)


def test_no_confidence_at_all_is_zero_without_gradient() -> None:
    rendered = landmarks().requires_grad_()
    loss = landmark_loss(rendered, landmarks(seed=1), 0 * certain(), IMAGE_SIZE)
    loss.backward()
    assert loss.item() == 0
    assert not rendered.grad.any()


def lids(right_px: float, left_px: float) -> torch.Tensor:
    points = torch.zeros(1, 68, 2, dtype=torch.float64)
    for (upper, lower), opening in zip(
        EYE_CLOSURE_PAIRS, (right_px, right_px, left_px, left_px), strict=True
    ):
        points[0, upper] = torch.tensor([30.0, 40.0])
        points[0, lower] = torch.tensor([30.0, 40.0 + opening])
    return points


def test_eye_closure_by_hand() -> None:
    heights = torch.tensor([[4.0, 8.0]])  # left, right
    loss = eye_closure_loss(lids(right_px=10, left_px=5), heights, TRUST[1:], 100)
    expected = 0.25 * (2 * abs((0.1**2 + 1e-7) ** 0.5 - 0.08) + 2 * abs((0.05**2 + 1e-7) ** 0.5 - 0.04))
    assert loss.item() == pytest.approx(expected)


def test_lids_at_the_parsed_height_cost_nothing() -> None:
    # up to the constant that keeps the derivative finite at closed lids: sqrt(0.1^2 + 1e-7) - 0.1 < 1e-6
    loss = eye_closure_loss(lids(10, 10), torch.tensor([[10.0, 10.0]]), TRUST[:1], 100)
    assert loss.item() < 4e-6


def test_an_eye_that_is_not_parsed_counts_with_height_zero() -> None:
    loss = eye_closure_loss(lids(10, 0), torch.zeros(1, 2, dtype=torch.long), TRUST[:1], 100)
    assert loss.item() == pytest.approx(2 * (0.1**2 + 1e-7) ** 0.5 + 2 * 1e-7**0.5)


def test_eye_closure_gradient() -> None:
    heights = torch.tensor([[4.0, 8.0], [3.0, 0.0]])
    assert torch.autograd.gradcheck(
        lambda x: eye_closure_loss(x, heights, TRUST, 100), landmarks().requires_grad_(), eps=1e-5
    )


def test_closed_lids_have_a_finite_gradient() -> None:
    rendered = lids(0, 0).requires_grad_()
    eye_closure_loss(rendered, torch.zeros(1, 2), TRUST[:1], 100).backward()
    assert rendered.grad.isfinite().all()


def test_a_batch_of_eyes_is_the_mean_of_its_frames() -> None:
    heights = torch.tensor([[4.0, 8.0], [3.0, 0.0]])
    points = landmarks()
    single = [
        eye_closure_loss(points[i : i + 1], heights[i : i + 1], TRUST[i : i + 1], 100).item() for i in (0, 1)
    ]
    assert eye_closure_loss(points, heights, TRUST, 100).item() == pytest.approx(sum(single) / 2)


def test_untrusted_frames_cost_nothing() -> None:
    rendered = landmarks(1).requires_grad_()
    loss = eye_closure_loss(rendered, torch.zeros(1, 2), torch.zeros(1), 100)
    loss.backward()
    assert loss.item() == 0
    assert not rendered.grad.any()
