"""Errors against a ground truth from which the tracking differs in a known way."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from nha.core.errors import UserError
from nha.core.rotations import rotation_matrix, rotation_vector
from nha.evaluation.tracking_errors import avatar_errors, summarise, tracking_errors, vertex_errors_mm
from nha.evaluation.truth import read_truth
from nha.head.joint_limits import NECK_LIMITS_DEG, params_from_angles


def test_the_truth_itself_has_no_error(assets, tracking, truth):
    for name, values in tracking_errors(assets, tracking, truth).items():
        assert values.shape == (4,)
        assert np.abs(values).max() < 1e-3, name


def test_rotation_counts_global_rotation_and_neck_together(assets, tracking, truth):
    turn = rotation_matrix(torch.tensor([0.0, np.radians(7), 0.0], dtype=torch.float32))
    body = rotation_matrix(torch.from_numpy(tracking.rotation))
    turned = dataclasses.replace(tracking, rotation=rotation_vector(body @ turn).numpy())
    assert tracking_errors(assets, turned, truth)["rotation_deg"] == pytest.approx(np.full(4, 7), abs=1e-3)

    # the neck compensates the rotation of the body
    back = params_from_angles(torch.tensor([0.0, -np.radians(7), 0.0], dtype=torch.float32), NECK_LIMITS_DEG)
    both = dataclasses.replace(turned, neck_pose=np.tile(back.numpy(), (4, 1)))
    assert tracking_errors(assets, both, truth)["rotation_deg"].max() < 0.01


def test_a_shift_is_a_translation_error_and_no_vertex_error(assets, tracking, truth):
    shifted = dataclasses.replace(tracking, translation=tracking.translation + np.float32([0.003, 0, 0.004]))
    errors = tracking_errors(assets, shifted, truth)
    assert errors["translation_mm"] == pytest.approx(np.full(4, 5), abs=1e-2)
    assert errors["vertex_mm"].max() < 1e-3
    assert errors["landmark_px"].min() > 0.1


def test_a_longer_focal_length_at_a_larger_distance_is_compensated(assets, tracking, truth):
    moved = dataclasses.replace(
        tracking,
        K=tracking.K * np.float32([1.1, 1, 1]),
        translation=tracking.translation * np.float32([1, 1, 1.1]),
    )
    errors = tracking_errors(assets, moved, truth)
    # the face is 0.1 m in front of the root joint, and this distance is not scaled with the depth
    assert errors["translation_mm"].max() < 15
    assert np.abs(moved.translation - tracking.translation).max() > 0.09


def test_landmarks_are_compared_in_pixels_of_the_tracked_images(assets, tracking, truth):
    larger = dataclasses.replace(tracking, image_size=(96, 96))
    assert tracking_errors(assets, larger, truth)["landmark_px"].max() < 1e-3
    off = dataclasses.replace(larger, K=tracking.K + np.float32([0, 3 / 96, 0]))
    assert tracking_errors(assets, off, truth)["landmark_px"] == pytest.approx(np.full(4, 3), abs=1e-3)


def test_size_is_an_error_unless_it_is_compensated():
    rng = np.random.default_rng(0)
    true = rng.normal(size=(2, 50, 3)) * 0.05 + [0, 0, 1]
    errors = vertex_errors_mm(true * 1.05, true)
    distances = np.linalg.norm(true - true.mean(1, keepdims=True), axis=-1).mean(1)
    assert errors["vertex_mm"] == pytest.approx(50 * distances, rel=1e-6)
    assert errors["vertex_scaled_mm"].max() < 1e-9


def test_an_avatar_is_measured_with_its_corrections_and_offsets(assets, avatar, tracking, truth):
    ids = [0, 2, 5]
    plain = avatar_errors(assets, avatar, tracking, ids, truth)
    assert all(np.abs(values).max() < 1e-3 for values in plain.values())
    with torch.no_grad():
        avatar.frame_parameters.translation[2] += torch.tensor([0.0, 0.006, 0.0])
        avatar.offset_net.output.bias.fill_(0.002)
    moved = avatar_errors(assets, avatar, tracking, ids, truth)
    assert moved["translation_mm"][1] - moved["translation_mm"][0] > 2
    assert 0.1 < moved["vertex_mm"][0] < 4


def test_another_head_model_or_frame_or_crop_is_refused(assets, tracking, truth):
    with pytest.raises(UserError, match="of the head model 'flame'"):
        tracking_errors(assets, tracking, dataclasses.replace(truth, head="flame"))
    with pytest.raises(UserError, match="no frame 9"):
        tracking_errors(assets, dataclasses.replace(tracking, frame=np.array([0, 1, 2, 9])), truth)
    with pytest.raises(UserError, match="aspect"):
        tracking_errors(assets, dataclasses.replace(tracking, image_size=(48, 64)), truth)


def test_summary():
    summary = summarise({"landmark_px": np.arange(101.0)})
    assert summary["landmark_px"] == {"mean": 50, "median": 50, "p95": 95, "max": 100}


def test_missing_truth_is_a_one_line_error(tmp_path, tracking):
    with pytest.raises(UserError, match="tracking file"):
        read_truth(tmp_path)
    from nha.data.tracking_file import write_tracking

    write_tracking(tmp_path / "tracked_flame_params.npz", tracking)
    with pytest.raises(UserError, match="vertices.npz' is missing"):
        read_truth(tmp_path)
