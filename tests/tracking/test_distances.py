"""Expressions from distances between landmarks, and the priors that keep landmark offsets from absorbing them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from nha.core.alignment import align
from nha.core.conventions import EYE_CLOSURE_PAIRS
from nha.render.camera import project
from nha.tracking.head_rig import HeadRig
from nha.tracking.landmark_fit import LandmarkFit
from nha.tracking.landmark_model import LandmarkModel
from nha.tracking.landmark_offsets import OffsetSigmas, affine_precision
from nha.tracking.reprojection import (
    DISTANCE_PAIRS,
    DetectedLandmarks,
    Reprojection,
    distance_noise_px,
)
from nha.tracking.settings import EnergyWeights
from nha.tracking.state import start_unknowns

SIZE = (256, 256)
MOUTH_CORNERS = ((48, 54),)


def landmarks_px(head, unknowns):
    with torch.no_grad():
        return project(head.landmarks(head(unknowns.head_params())), unknowns.camera(SIZE))[..., :2]


def slope(points, true_points, pairs):
    first, second = torch.tensor(pairs).T
    found, true = (
        torch.linalg.vector_norm(p[:, first] - p[:, second], dim=-1).mean(1) for p in (points, true_points)
    )
    return float(np.polyfit(true.numpy(), found.numpy(), 1)[0])


@pytest.fixture
def blinking(head_mesh, head_assets):
    """Frames of a still head that blinks and smiles; what a detector finds, whose noise moves neighbours together."""
    head, n = head_mesh.head, 10
    names = list(head_assets.expression_names)
    phase = torch.linspace(0, 6.0, n)
    start = start_unknowns(head, n, 0)
    expr = torch.zeros_like(start.expr)
    for side in ("left", "right"):
        expr[:, names.index(f"blink_{side}")] = 0.7 * (1 + phase.cos())
        expr[:, names.index(f"stretch_{side}")] = 1.5 * phase.sin()
    truth = start.replace(expr=expr)
    pixels = landmarks_px(head, truth)
    generator = torch.Generator().manual_seed(0)
    common = torch.randn(n, 3, 2, generator=generator)
    noise = common[:, [0] * 36 + [1] * 12 + [2] * 20 + [1] * 2]
    detected = DetectedLandmarks(pixels + noise, torch.ones(n, 70), SIZE, sigma_px=4.0, pair_sigma_px=0.3)
    return truth, pixels, detected


def test_distances_show_the_whole_expression(head_mesh, blinking):
    truth, pixels, detected = blinking
    head = head_mesh.head
    fit = LandmarkFit(head, 12, head.n_expr)
    by_points = fit.fit_frames(truth.replace(expr=0 * truth.expr), detected)
    found = fit.fit_expressions(by_points, detected, neighbours=by_points)
    for pairs in (EYE_CLOSURE_PAIRS, MOUTH_CORNERS):
        before, after = (slope(landmarks_px(head, u), pixels, pairs) for u in (by_points, found))
        assert before < 0.9, before
        assert after == pytest.approx(1.0, abs=0.06)
    for name in ("rotation", "translation", "neck"):
        assert torch.allclose(getattr(found, name), getattr(by_points, name), atol=1e-4), name


def test_derivatives_of_distances(head_mesh, blinking):
    truth, _, detected = blinking
    detected = replace(detected.rows([3]), confidence=torch.linspace(0.2, 1, 70)[None])
    fit = LandmarkFit(head_mesh.head, 4, 6)
    truth = truth.rows([3])
    observed = Reprojection(fit.model, 4, 6, detected, EnergyWeights(), with_pairs=True)
    own, shared = fit.vectors.own(truth), fit.vectors.shared(truth, detected)
    observed.reweight(own, shared)
    at = observed.linearise(own, shared, with_shared=True)
    assert at.residual.shape == (1, 2 * (70 + len(DISTANCE_PAIRS)))
    assert torch.allclose(at.residual, observed.residuals(own, shared), atol=1e-5)
    step = 1e-3
    for column in (0, 5, 6 + 1, 6 + 5, 6 + 9):  # expression, rotation, translation, jaw
        moved = torch.zeros_like(own)
        moved[:, column] = step
        change = (observed.residuals(own + moved, shared) - observed.residuals(own - moved, shared)) / (
            2 * step
        )
        error = (at.by_own[..., column] - change).abs().max()
        assert float(error) < 0.02 * float(change.abs().max()) + 1e-2


def test_size_is_that_of_the_whole_head(head_mesh, head_assets):
    head = head_mesh.head
    model = LandmarkModel(HeadRig(head), head)
    by_shape = model.relative_size_by_shape()
    names = list(head_assets.shape_names)
    rest = head.neutral_params(1)
    with torch.no_grad():
        for name in ("head_size", "head_width", "eye_spacing"):
            shape = torch.zeros_like(rest.shape)
            shape[:, names.index(name)] = 1.0
            mean, changed = (
                head(rest).numpy().astype(float),
                head(rest.replace(shape=shape)).numpy().astype(float),
            )
            scale = np.linalg.norm(align(mean, changed, with_scale=True).apply(mean).std(1))
            scale /= np.linalg.norm(mean.std(1))
            assert float(by_shape[names.index(name)]) == pytest.approx(scale - 1, abs=2e-3), name
    assert float(by_shape[names.index("head_size")]) > 0.02
    assert abs(float(by_shape[names.index("eye_spacing")])) < 0.002


def test_offsets_do_not_stretch_the_face(head_mesh):
    head = head_mesh.head
    points = head.landmarks(head(head.neutral_params(1)))[0].double()
    precision = affine_precision(points)

    def cost(offsets):
        inner = torch.zeros(70, 3).double()
        inner[17:68] = offsets[17:68]
        return float(0.5 * inner.flatten() @ precision @ inner.flatten())

    stretch = points - points[17:68].mean(0)
    stretch = 3e-4 * stretch / stretch[17:68].square().sum(1).mean().sqrt()  # 0.3 mm, root mean square
    assert cost(stretch) == pytest.approx(0.5, rel=1e-3)
    alternating = 3e-4 * torch.ones(70, 1).double() * torch.tensor([1.0, 0.0, 0.0]).double()
    alternating[::2] *= -1
    assert cost(alternating) < 0.05


def test_each_group_of_offsets_has_its_own_size():
    generator = torch.Generator().manual_seed(0)
    offsets = 1e-3 * torch.randn(70, 3, generator=generator).double()
    offsets[17:27] *= 6
    learned = OffsetSigmas().updated(offsets, torch.zeros(70, 3).double())
    assert learned.brows == pytest.approx(6e-3, rel=0.3)
    assert learned.eyes == pytest.approx(1e-3, rel=0.3)
    assert learned.irises == OffsetSigmas().irises


def test_noise_of_distances_is_measured():
    generator = torch.Generator().manual_seed(0)
    time = torch.arange(100)[:, None, None] / 100
    still = 50 * torch.rand(70, 2, generator=generator) + time * torch.tensor([20.0, -5.0])
    opening = 8 * (6 * time).sin() * (torch.arange(70) % 2)[None, :, None]
    closeness = torch.ones(100)
    closeness[[0, 99]] = 0
    assert distance_noise_px(still + opening, closeness) < 0.05
    noisy = still + opening + 0.5 * torch.randn(100, 70, 2, generator=generator)
    assert distance_noise_px(noisy, closeness) == pytest.approx(0.5 * 2**0.5, rel=0.15)
    assert distance_noise_px(noisy, 0.5 * closeness) == 0.0
