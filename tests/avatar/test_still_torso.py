"""A still torso: the neck turns the head, the root joint stays."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from nha.avatar.blend_avatar import BlendAvatar
from nha.avatar.open import build_head
from nha.core.rotations import rotation_matrix, rotation_vector
from nha.core.types import HeadParams
from nha.head.joint_limits import neck_angles
from nha.head.load import load_head
from tests.avatar.conftest import facing_params
from tests.small import SMALL_BLEND

STILL = dataclasses.replace(SMALL_BLEND, blend_still_torso=True)
EXACT = {"rtol": 0, "atol": 2e-6}


@pytest.fixture(scope="module")
def still() -> BlendAvatar:
    torch.manual_seed(0)
    return BlendAvatar(build_head(load_head("procedural"), STILL), STILL, max_frame_id=5).eval()


@pytest.fixture
def turning(still) -> HeadParams:
    """Four heads that turn, nod and tilt, with their rotation in the root joint as a tracker writes it."""
    params = facing_params(still.head, 4)
    turned = torch.tensor([[0.0, 0, 0], [0.6, 0.1, 0], [0.1, -0.7, 0.1], [-0.3, 0.4, 0.2]])
    facing = rotation_matrix(torch.tensor([0.0, torch.pi, 0]))
    rotation = rotation_vector(facing @ rotation_matrix(turned))
    return params.replace(rotation=rotation, neck=params.neck + 0.02)


def on_joint(avatar: BlendAvatar, joint: int) -> torch.Tensor:
    """Vertices that follow this joint alone, without those that bulge when the neck bends."""
    kept = avatar.head.kept_vertices
    stiff = (avatar.head.pose_directions[kept][:, :, :9] == 0).flatten(1).all(1)
    return (avatar.head.skinning_weights[kept][:, joint] > 1 - 1e-6) & stiff


@torch.no_grad()
def test_the_skull_stays_and_the_torso_faces_the_camera(still, turning):
    settled = still.corrected(turning, None)
    before, after = still.surface(turning).vertices, still.surface(settled).vertices
    skull, rim = on_joint(still, 1), on_joint(still, 0)
    assert skull.sum() > 1000
    assert rim.sum() > 20
    torch.testing.assert_close(after[:, skull], before[:, skull], **EXACT)
    facing = rotation_matrix(torch.tensor([[0.0, torch.pi, 0]])).expand(4, 3, 3)
    torch.testing.assert_close(rotation_matrix(settled.rotation), facing, rtol=0, atol=1e-6)
    shape = after[:, rim] - after[:, rim].mean(1, keepdim=True)
    torch.testing.assert_close(shape, shape[:1].expand_as(shape), **EXACT)
    moved = before[:, rim] - before[:, rim].mean(1, keepdim=True)
    assert (moved - moved[:1]).abs().max() > 0.01  # as tracked, the rim turns with the head


@torch.no_grad()
def test_settled_poses_stay_as_they_are(still, turning):
    once = still.settled(turning)
    twice = still.settled(once)
    for name, value in vars(once).items():
        torch.testing.assert_close(getattr(twice, name), value, rtol=0, atol=2e-5)


@torch.no_grad()
def test_the_correction_of_the_neck_turns_the_torso_only(still, turning):
    tables = still.frame_parameters
    before = still.surface(still.corrected(turning, torch.arange(4))).vertices
    tables.neck[2] = 0.1
    try:
        after = still.surface(still.corrected(turning, torch.arange(4))).vertices
    finally:
        tables.neck.zero_()
    change = (after - before).norm(dim=2)
    assert change[[0, 1, 3]].max() < 1e-6
    assert change[2, on_joint(still, 1)].max() < 2e-6
    assert change[2, on_joint(still, 0)].mean() > 2e-3


@torch.no_grad()
def test_the_torso_of_a_head_that_is_turned_away_follows(still):
    away = facing_params(still.head, 1).replace(rotation=torch.tensor([[0.0, 0.1, 0]]))
    settled = still.settled(away)
    torch.testing.assert_close(rotation_matrix(settled.rotation), rotation_matrix(away.rotation))
    torch.testing.assert_close(neck_angles(settled.neck), torch.zeros(1, 3), rtol=0, atol=1e-6)


def test_corrections_get_gradients_through_the_torso(still, turning):
    tables = still.frame_parameters
    still.corrected(turning, torch.arange(4)).neck.sum().backward()
    assert tables.neck.grad[:4].abs().min() > 0
    assert tables.rotation.grad[1:4].abs().max() > 0
    tables.zero_grad()


@torch.no_grad()
def test_colours_depend_on_the_view_and_not_on_the_neck(still, turning):
    drive = still.scaled_drive(still.settled(turning))
    expected = torch.cat(still.basis_weights(drive), 1)
    for name, same in (("neck", True), ("view", False)):
        other = drive.clone()
        other[:, still.drive.names[name]] += 1
        assert torch.equal(torch.cat(still.basis_weights(other), 1), expected) is same


def test_without_the_setting_parameters_stay(turning):
    plain = BlendAvatar(build_head(load_head("procedural"), SMALL_BLEND), SMALL_BLEND, max_frame_id=5)
    assert plain.settled(turning) is turning
    assert torch.equal(plain.corrected(turning, None).neck, turning.neck)
