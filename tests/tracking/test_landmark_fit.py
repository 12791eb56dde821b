"""Landmarks alone: derivatives against automatic ones, least squares, camera and branches."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from nha.core.conventions import N_LANDMARKS
from nha.core.rotations import rotation_matrix, rotation_vector
from nha.core.types import HeadParams
from nha.head import joint_limits
from nha.render.camera import project
from nha.tracking.camera_init import calibrate, facing_branch, rigid_poses
from nha.tracking.energy import (
    JOINTS,
    geometric_terms,
    smoothness,
    smoothness_residual,
    weighted_sum,
)
from nha.tracking.head_rig import POSE_WIDTHS, HeadRig
from nha.tracking.keyframes import choose_keyframes, head_angles_deg
from nha.tracking.landmark_fit import LandmarkFit
from nha.tracking.landmark_model import LandmarkModel
from nha.tracking.least_squares import Linearised, Quadratic, minimise_each, minimise_jointly
from nha.tracking.reprojection import DetectedLandmarks
from nha.tracking.settings import EnergyWeights
from nha.tracking.state import UNKNOWNS, Unknowns, start_unknowns
from nha.tracking.timeline import Timeline, neighbour_mean


@pytest.fixture
def random_head(head_mesh):
    generator = torch.Generator().manual_seed(0)
    coefficients = torch.randn(2, head_mesh.head.n_shape + head_mesh.head.n_expr, generator=generator)
    coefficients = torch.cat([coefficients, torch.zeros(2, 3 * N_LANDMARKS)], 1)
    return coefficients, 0.5 * torch.randn(2, sum(POSE_WIDTHS), generator=generator)


def test_landmarks_equal_the_head_models(head_mesh, random_head):
    coefficients, pose = random_head
    head = head_mesh.head
    shape, expr, _ = coefficients.split((head.n_shape, head.n_expr, 3 * N_LANDMARKS), 1)
    params = HeadParams(shape, expr, *pose.split(POSE_WIDTHS, 1))
    expected = head.landmarks(head(params))
    model = LandmarkModel(HeadRig(head), head)
    assert torch.allclose(model.points(coefficients, pose), expected, atol=1e-5)
    columns = torch.arange(3)
    assert torch.allclose(model.linearised(coefficients, pose, columns).points, expected, atol=1e-5)


def test_derivatives_equal_automatic_ones(head_mesh, random_head):
    coefficients, pose = random_head
    model = LandmarkModel(HeadRig(head_mesh.head), head_mesh.head)
    coefficients[:, -3 * N_LANDMARKS :] = 0.002 * torch.randn(2, 3 * N_LANDMARKS)
    columns = torch.tensor([0, 5, 300, 310, model.n_coefficients - 3 * N_LANDMARKS, model.n_coefficients - 1])
    at = model.linearised(coefficients, pose, columns)
    by_coefficients, by_pose = torch.autograd.functional.jacobian(
        lambda c, p: model.points(c, p)[1], (coefficients, pose)
    )
    assert torch.allclose(at.by_coefficients[1], by_coefficients[:, :, 1][..., columns], atol=1e-6)
    assert torch.allclose(at.by_pose[1], by_pose[:, :, 1], atol=1e-5)


class Lines:
    """Residuals own_i x + shared - y: N lines of different slope with one intercept."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def residuals(self, own, shared):
        return own[:, :1] * self.x + shared[0] - self.y

    def linearise(self, own, shared, *, with_shared):
        ones = torch.ones_like(self.y)[..., None]
        return Linearised(self.residuals(own, shared), self.x.expand_as(self.y)[..., None], ones)


def test_shared_and_own_unknowns_are_found_together():
    x = torch.linspace(0, 1, 9).double()
    y = torch.tensor([[2.0], [-1.0], [0.5]]).double() * x + 0.7
    none = Quadratic(torch.zeros(1, 1).double(), torch.zeros(1).double())
    own, shared = torch.zeros(3, 1).double(), torch.zeros(1).double()
    own, shared = minimise_jointly(Lines(x, y), [none], none, own, shared, n_steps=20)
    assert torch.allclose(own[:, 0], torch.tensor([2.0, -1.0, 0.5]).double(), atol=1e-3)
    assert float(shared[0]) == pytest.approx(0.7, abs=1e-3)


def test_a_problem_with_nan_keeps_its_start():
    x = torch.linspace(0, 1, 9).double()
    y = torch.stack([2 * x, x * torch.nan])
    none = Quadratic(torch.zeros(1, 1).double(), torch.zeros(1).double())
    own = minimise_each(Lines(x, y), [none], torch.full((2, 1), 0.1).double(), torch.zeros(1).double(), 10)
    assert own[:, 0].tolist() == pytest.approx([2.0, 0.1], abs=1e-3)


def landmarks_of(head, unknowns, size):
    points = head.landmarks(head(unknowns.head_params()))
    return project(points, unknowns.camera(size))[..., :2]


def test_camera_and_poses_from_landmarks(head_mesh):
    size, head = (96, 128), head_mesh.head
    start = start_unknowns(head, 3, 0)
    truth = start.replace(
        rotation=torch.tensor([[0.1, math.pi - 0.5, 0.0], [0.0, math.pi, 0.1], [-0.2, math.pi + 0.5, 0.0]]),
        translation=torch.tensor([[0.0, 0.02, 0.8], [0.03, 0.0, 0.9], [0.0, 0.0, 0.8]]),
        focal_and_centre=torch.tensor([2.5, 0.5, 0.5]),
    )
    resting = head.landmarks(head(head.neutral_params(1)))[0, :68]
    pixels = landmarks_of(head, truth, size)[:, :68].clone()
    pixels[1, 30] += 40  # one outlier
    confidence = torch.ones(3, 68)
    assert calibrate(resting, pixels[[0, 2]], confidence[[0, 2]], size) == pytest.approx(2.5, rel=0.02)
    confidence[2, 8:] = 0  # fewer than MIN_LANDMARKS
    poses = rigid_poses(resting, pixels, confidence, 2.5, size)
    assert torch.allclose(poses.rotation[:2], truth.rotation[:2], atol=1e-2)
    assert torch.allclose(poses.translation[:2], truth.translation[:2], atol=1e-2)
    assert torch.isnan(poses.rotation[2]).all()


def test_landmark_fit_is_robust_and_ignores_unknown_points(head_mesh):
    size, head = (96, 96), head_mesh.head
    start = start_unknowns(head, 2, 0)
    truth = start.replace(
        rotation=torch.tensor([[0.1, math.pi - 0.3, 0.0], [0.0, math.pi + 0.4, 0.1]]),
        translation=torch.tensor([[0.0, 0.02, 0.8], [0.03, 0.0, 0.9]]),
    )
    pixels = landmarks_of(head, truth, size)
    pixels[0, 33] += 30
    pixels[1, 5] = torch.nan
    confidence = torch.ones(2, 70)
    confidence[1, 5] = 0
    fit = LandmarkFit(head, 12, 12)
    detected = DetectedLandmarks(pixels, confidence, size, sigma_px=0.5, pair_sigma_px=0.15)
    found = fit.fit_frames(start, detected)
    turned = rotation_matrix(found.rotation).mT @ rotation_matrix(truth.rotation)
    assert float(torch.linalg.vector_norm(rotation_vector(turned), dim=1).max()) < 0.03
    errors = fit.errors_px(found, detected)
    assert bool(torch.isnan(errors[1, 5]))
    assert float(errors.nanmedian()) < 0.1


def test_facing_branch_is_the_same_rotation_without_a_jump():
    yaw = torch.linspace(-1, 1, 9)
    about_x = torch.tensor([[0.2, 0.0, 0.0]]).expand(9, -1)
    turned = rotation_matrix(torch.stack([0 * yaw, math.pi + yaw, 0 * yaw], 1)) @ rotation_matrix(about_x)
    vectors = facing_branch(rotation_vector(turned))
    assert torch.allclose(rotation_matrix(vectors), turned, atol=1e-5)
    assert float((vectors[1:] - vectors[:-1]).abs().max()) < 0.3


def test_keyframes_spread_and_begin_frontal():
    yaw = torch.linspace(-1.2, 1.2, 25)
    rotation = torch.stack([0 * yaw, math.pi + yaw, 0 * yaw], 1)
    assert head_angles_deg(rotation)[:, 0].abs().max() == pytest.approx(math.degrees(1.2), abs=0.1)
    usable = torch.ones(25, dtype=torch.bool)
    usable[0] = False
    chosen = choose_keyframes(rotation, torch.zeros(25), usable, 3)
    assert chosen == [12, 24, 1]
    opening = torch.zeros(25)
    opening[13] = 0.5
    assert 13 in choose_keyframes(rotation, opening, usable, 4)


def test_an_offset_moves_its_landmark_with_the_head(head_mesh, random_head):
    coefficients, pose = random_head
    model = LandmarkModel(HeadRig(head_mesh.head), head_mesh.head)
    moved = coefficients.clone()
    offset = torch.tensor([0.003, -0.001, 0.002])
    first = model.n_coefficients - 3 * N_LANDMARKS
    moved[:, first + 3 * 30 : first + 3 * 31] = offset  # the nose's tip: of the head, not of the jaw
    shift = model.points(moved, pose) - model.points(coefficients, pose)
    neck = joint_limits.neck_angles(pose[:, 6:9])
    turned = rotation_matrix(pose[:, :3]) @ rotation_matrix(neck) @ offset
    assert torch.allclose(shift[:, 30], turned, atol=1e-5)
    assert float(torch.cat([shift[:, :30], shift[:, 31:]], 1).abs().max()) == 0


def detections(head, n, offsets, noise_px, seed=0):
    """A rotating head, and its landmarks from a detector with noise that defines them with offsets."""
    generator = torch.Generator().manual_seed(seed)
    size = (200, 200)
    start = start_unknowns(head, n, 0)
    phase = torch.linspace(-1, 1, n)
    shape = torch.zeros_like(start.shape)
    shape[:10] = torch.randn(10, generator=generator)
    truth = start.replace(
        rotation=torch.stack([0.25 * (2 * phase).cos(), math.pi + 0.7 * phase, 0.1 * phase], 1),
        translation=torch.stack([0.02 * phase, 0.01 * phase, torch.full((n,), 0.75)], 1),
        shape=shape,
        focal_and_centre=torch.tensor([2.5, 0.5, 0.5]),
    )
    points = head.landmarks(head(truth.head_params()))
    points = points + offsets @ rotation_matrix(truth.rotation).mT
    pixels = project(points, truth.camera(size))[..., :2]
    pixels = pixels + noise_px * torch.randn(pixels.shape, generator=generator)
    return truth, DetectedLandmarks(pixels, torch.ones(n, 70), size, sigma_px=1.5, pair_sigma_px=0.5)


def rotation_errors(found, truth):
    turned = rotation_matrix(found.rotation).mT @ rotation_matrix(truth.rotation)
    return torch.rad2deg(torch.linalg.vector_norm(rotation_vector(turned), dim=1))


def test_the_detectors_landmark_offsets_are_learned(head_mesh):
    head = head_mesh.head
    generator = torch.Generator().manual_seed(1)
    offsets = 0.003 * torch.randn(70, 3, generator=generator)
    offsets[:17] *= 4
    offsets[68:] = 0
    errors = {}
    for name, given in (("biased", offsets), ("exact", torch.zeros(70, 3))):
        truth, detected = detections(head, 8, given, noise_px=0.5)
        start = truth.replace(
            rotation=truth.rotation + 0.1,
            shape=torch.zeros_like(truth.shape),
            expr=torch.zeros_like(truth.expr),
        )
        fit = LandmarkFit(head, 20, 10)
        found, learned = fit.fit_together(start, detected, fixed_focal=True)
        errors[name] = float(rotation_errors(found, truth).max())
        inner = learned.offsets[17:68]
        if name == "biased":
            correlation = torch.corrcoef(torch.stack([inner.flatten(), given[17:68].flatten()]))[0, 1]
            assert float(correlation) > 0.6
        else:  # the evidence is against offsets
            assert float(inner.square().mean().sqrt()) < 3e-4
    assert errors["exact"] < 2.0
    assert errors["biased"] < 4.0


def test_gaze_and_lids_are_found(head_mesh, head_assets):
    """Iris landmarks determine the eyes' rotation, lid landmarks the blink expressions."""
    head, size = head_mesh.head, (256, 256)
    start = start_unknowns(head, 3, 0).replace(translation=torch.tensor([[0.0, 0.0, 0.7]]).repeat(3, 1))
    eyes_rad = torch.tensor([[0.0, 0.25, 0.0], [-0.15, -0.2, 0.0], [0.0, 0.0, 0.0]]).repeat(1, 2)
    expr = start.expr.clone()
    blink = [row for row, name in enumerate(head_assets.expression_names) if name.startswith("blink")]
    expr[2, blink] = 1.5
    eyes = joint_limits.params_from_angles(eyes_rad, joint_limits.EYES_LIMITS_DEG)
    truth = start.replace(eyes=eyes, expr=expr)
    detected = DetectedLandmarks(
        landmarks_of(head, truth, size), torch.ones(3, 70), size, sigma_px=0.5, pair_sigma_px=0.15
    )
    found = LandmarkFit(head, 12, head.n_expr).fit_frames(start, detected)
    found_rad = joint_limits.eyes_angles(found.eyes)
    assert float((found_rad - eyes_rad)[:2, [0, 1, 3, 4]].abs().max()) < 0.06
    lids = {"shut": float(found.expr[2, blink].mean()), "open": float(found.expr[:2, blink].abs().max())}
    assert lids["shut"] > 0.9
    assert lids["open"] < 0.3


def moved(head):
    """Three frames of a head away from rest, and the same as detected landmarks."""
    start = start_unknowns(head, 3, 0)
    generator = torch.Generator().manual_seed(5)
    truth = start.replace(
        expr=torch.nn.functional.pad(torch.randn(3, 12, generator=generator), (0, head.n_expr - 12)),
        shape=torch.nn.functional.pad(torch.randn(12, generator=generator), (0, head.n_shape - 12)),
        jaw=start.jaw + torch.tensor([[0.3, 0, 0], [0.6, 0, 0], [0.1, 0, 0]]),
        neck=torch.tensor([[0.1, 0.1, 0], [0, -0.1, 0.1], [0.1, 0, 0]]),
        eyes=torch.tensor([[0.0, 0.3, 0, 0, 0.1, 0], [0.2, 0, 0, -0.1, 0, 0], [0, -0.2, 0, 0, 0.1, 0]]),
        focal_and_centre=torch.tensor([2.5, 0.5, 0.5]),
    )
    size = (200, 200)
    return truth, DetectedLandmarks(
        landmarks_of(head, truth, size), torch.ones(3, 70), size, sigma_px=1.5, pair_sigma_px=0.5
    )


def rotations(parameters):
    return rotation_matrix(parameters.unflatten(1, (-1, 3)))


# How far each term lets the unknowns go: a larger weight makes this smaller.
SLACK = {
    "w_expr_reg": lambda u, rest: u.expr.norm(),
    "w_shape_reg": lambda u, rest: u.shape.norm(),
    "w_eyes_sym": lambda u, rest: (u.eyes[:, 3:] - u.eyes[:, :3]).norm(),
    "w_pos_neck": lambda u, rest: (rotations(u.neck) - rotations(rest.neck)).norm(),
    "w_pos_jaw": lambda u, rest: (rotations(u.jaw) - rotations(rest.jaw)).norm(),
    "w_pos_eyes": lambda u, rest: (rotations(u.eyes) - rotations(rest.eyes)).norm(),
}


def scaled_weight(name, factor):
    return EnergyWeights(**{name: factor * getattr(EnergyWeights(), name)})


@pytest.mark.parametrize("name", SLACK)
def test_a_changed_prior_weight_changes_both_kinds_of_stages(head_mesh, name):
    """Landmark stages: the unknowns stay nearer to rest. Photometric stages: the gradient changes."""
    head = head_mesh.head
    truth, detected = moved(head)
    rest = start_unknowns(head, 3, 0)
    slack, gradients = [], []
    for factor in (1e-3, 1):
        weights = scaled_weight(name, factor)
        fit = LandmarkFit(head, 12, 12, weights)
        if name == "w_shape_reg":
            found, _ = fit.fit_together(truth, detected, fixed_focal=True)
        else:
            found = fit.fit_frames(truth, detected)
        slack.append(float(SLACK[name](found, rest)))

        leaves = {field: getattr(truth, field).clone().requires_grad_() for field in UNKNOWNS}
        pose = {joint: getattr(rest, joint)[0] for joint in JOINTS}
        target, size = detected.landmarks_px, detected.image_size
        terms = geometric_terms(Unknowns(**leaves), target, target, detected.confidence, size, pose)
        weighted_sum(terms, weights).backward()
        gradients.append(
            torch.cat([leaf.grad.flatten() for leaf in leaves.values() if leaf.grad is not None])
        )
    assert slack[1] < 0.8 * slack[0]
    assert float((gradients[1] - gradients[0]).norm()) > 1e-5  # exactly 0 if the weight had no effect


@pytest.mark.parametrize("name, some", [("w_lmk", slice(0, 68)), ("w_eyes_lmk", slice(68, 70))])
def test_a_changed_landmark_weight_changes_both_kinds_of_stages(head_mesh, name, some):
    head = head_mesh.head
    truth, detected = moved(head)
    shifted = detected.landmarks_px.clone()
    shifted[:, some] += 2.0 * torch.randn(
        3, shifted[:, some].shape[1], 2, generator=torch.Generator().manual_seed(1)
    )
    detected = replace(detected, landmarks_px=shifted)
    errors, pulls = [], []
    for factor in (0.03, 1):
        weights = scaled_weight(name, factor)
        fit = LandmarkFit(head, 12, 12, weights)
        found = fit.fit_frames(truth, detected)
        errors.append(float(fit.errors_px(found, detected)[:, some].mean()))

        landmarks_px = landmarks_of(head, truth, detected.image_size).detach().requires_grad_()
        pose = {joint: getattr(start_unknowns(head, 1, 0), joint)[0] for joint in JOINTS}
        terms = geometric_terms(truth, landmarks_px, shifted, detected.confidence, detected.image_size, pose)
        weighted_sum(terms, weights).backward()
        pulls.append(float(landmarks_px.grad[:, some].abs().sum()))
    assert errors[1] < 0.95 * errors[0]
    assert pulls[1] == pytest.approx(pulls[0] / 0.03, rel=1e-4)


def test_a_changed_smoothness_weight_changes_both_kinds_of_stages(head_mesh):
    """The middle one of three frames is pulled towards the line between its neighbours."""
    head = head_mesh.head
    truth, detected = moved(head)
    timeline = Timeline(np.arange(3), np.zeros(3, int))
    line = neighbour_mean(truth, timeline)
    deviation, pull = [], []
    for factor in (1, 30):
        weights = scaled_weight("w_smooth", factor)
        found = LandmarkFit(head, 12, 12, weights).fit_frames(truth, detected, neighbours=line)
        deviation.append(float(smoothness_residual(found, line)[1].norm()))

        expr = truth.expr[1:2].clone().requires_grad_()
        middle = truth.rows([1]).replace(expr=expr)
        half, one = torch.tensor([0.5]), torch.ones(1)
        term = smoothness(middle, truth.rows([0]), truth.rows([2]), half, one)
        weighted_sum({"smooth": term}, weights).backward()
        pull.append(float(expr.grad.norm()))
    assert deviation[1] < 0.8 * deviation[0]
    assert pull[1] == pytest.approx(30 * pull[0], rel=1e-4)
