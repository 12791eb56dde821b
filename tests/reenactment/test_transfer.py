"""Motion transfer: what is added to what, and what each option changes."""

import copy
import dataclasses

import pytest
import torch

from nha.avatar.blend_avatar import BlendAvatar
from nha.avatar.open import build_head
from nha.core.rotations import rotation_matrix
from nha.head.joint_limits import neck_angles
from nha.reenactment.transfer import Actor, transfer, transferred_motion
from tests.avatar import conftest as avatar_tests
from tests.avatar.conftest import camera, facing_params
from tests.small import SMALL_BLEND

avatar = avatar_tests.avatar  # random networks and corrections


def test_transfer_adds_the_driving_change_to_the_target_neutral(head):
    target, driving = facing_params(head, 1), facing_params(head, 3)
    target = target.replace(expr=target.expr + 0.3, shape=target.shape + 2)
    neutral = driving[:1].replace(expr=driving[:1].expr + 0.1)
    moved = transfer(target, driving, neutral)
    torch.testing.assert_close(moved.expr, torch.full_like(moved.expr, 0.2))
    torch.testing.assert_close(moved.rotation, target.rotation + driving.rotation - neutral.rotation)
    assert (moved.shape == 2).all()


def test_self_reenactment_equals_rendering(avatar, head):
    tracked = facing_params(head, 3)
    frames = torch.tensor([0, 1, 2])
    actor = Actor(avatar, tracked[:1], 0)
    motion = transferred_motion(actor, actor, tracked, frames)
    reenacted = avatar.render(motion.params, camera(3), corrected=True, offset_neck=motion.offset_neck)
    rendered = avatar.render(tracked, camera(3), frame_ids=frames)
    torch.testing.assert_close(reenacted.rgba, rendered.rgba, atol=1e-4, rtol=0)


@pytest.fixture(scope="module")
def still(assets):
    """A blend model whose torso stays still, with corrections."""
    torch.manual_seed(0)
    settings = dataclasses.replace(SMALL_BLEND, blend_still_torso=True)
    avatar = BlendAvatar(build_head(assets, settings), settings, max_frame_id=5).eval()
    for table in avatar.frame_parameters.parameters():
        table.data.normal_(0, 0.02)
    return avatar.requires_grad_(False)


def test_self_reenactment_of_a_still_torso_equals_rendering(still):
    tracked = facing_params(still.head, 3)
    frames = torch.tensor([0, 1, 2])
    actor = Actor(still, tracked[:1], 0)
    motion = transferred_motion(actor, actor, tracked, frames)
    expected = still.corrected(tracked, frames)
    for name, value in vars(expected).items():
        torch.testing.assert_close(getattr(motion.params, name), value, atol=1e-5, rtol=0)
    assert torch.equal(motion.offset_neck, motion.params.neck)


def test_a_person_who_is_only_tracked_turns_the_neck_of_a_still_torso(still):
    driving = facing_params(still.head, 3)
    actors = Actor(still, driving[:1], 0), Actor(None, driving[:1], 0)
    motion = transferred_motion(*actors, driving, torch.arange(3))
    torso = rotation_matrix(motion.params.rotation)
    torch.testing.assert_close(torso, still.torso_rotation.expand(3, 3, 3), atol=1e-5, rtol=0)
    turn = neck_angles(motion.params.neck)
    assert (turn[2] - turn[0]).norm() == pytest.approx(0.4, abs=0.02)


def test_offsets_are_conditioned_on_the_driving_neck_plus_the_target_correction(avatar, head):
    other = copy.deepcopy(avatar)
    with torch.no_grad():
        other.frame_parameters.neck += 0.5
    tracked = facing_params(head, 1)
    actors = Actor(avatar, tracked, 0), Actor(other, tracked, 1)
    motion = transferred_motion(*actors, tracked, torch.tensor([4]))
    torch.testing.assert_close(motion.offset_neck, tracked.neck + avatar.frame_parameters.neck[4:5])
    # frame ids outside the target's video have no correction
    motion = transferred_motion(*actors, tracked, torch.tensor([400]))
    torch.testing.assert_close(motion.offset_neck, tracked.neck)


def motion_of(avatar, head, driving_avatar, n=6, **options):
    """Motion from n driving frames; both neutral frames are the first ones, at different positions."""
    driving = facing_params(head, n)
    jaw = driving.jaw + torch.linspace(0, 0.5, n)[:, None]
    driving = driving.replace(jaw=jaw, translation=driving.translation + 0.1)
    own = facing_params(head, 1)
    actors = Actor(avatar, own, 0), Actor(driving_avatar, driving[:1], 0)
    return transferred_motion(*actors, driving, torch.arange(n), **options), own, driving


def test_a_driving_person_without_avatar_uses_tracked_parameters(avatar, head):
    motion, own, driving = motion_of(avatar, head, None)
    start = avatar.corrected(own, torch.tensor([0]))
    torch.testing.assert_close(motion.params.jaw, start.jaw + driving.jaw - driving.jaw[:1])
    torch.testing.assert_close(
        motion.offset_neck, motion.params.neck
    )  # the published conditioning needs a driving avatar


def test_keep_pose_transfers_only_the_face(avatar, head):
    for driving_avatar in (None, avatar):
        motion, own, _ = motion_of(avatar, head, driving_avatar, keep_pose=True)
        start = avatar.corrected(own, torch.tensor([0]))
        for name in ("rotation", "translation", "neck"):
            torch.testing.assert_close(getattr(motion.params, name), getattr(start, name).expand(6, -1))
        torch.testing.assert_close(motion.offset_neck, start.neck.expand(6, -1))
        assert motion.params.jaw[5, 0] > motion.params.jaw[0, 0] + 0.3


def test_place_driving_uses_the_driving_pose(avatar, head):
    motion, _, driving = motion_of(avatar, head, None, place="driving")
    for name in ("rotation", "translation", "neck"):
        torch.testing.assert_close(getattr(motion.params, name), getattr(driving, name))
    elsewhere, _, _ = motion_of(avatar, head, None)
    torch.testing.assert_close(motion.params.jaw, elsewhere.params.jaw)
    assert (elsewhere.params.translation - driving.translation).abs().min() > 0.05


def test_smoothing_reduces_jitter_and_keeps_the_shape(avatar, head):
    noisy, _, _ = motion_of(avatar, head, avatar)  # the corrections are noise
    smoothed, _, _ = motion_of(avatar, head, avatar, smooth=1.5)

    def jitter(values):
        return (values[2:] - 2 * values[1:-1] + values[:-2]).abs().mean()

    for name in ("rotation", "neck", "expr", "translation"):
        assert jitter(getattr(smoothed.params, name)) < 0.5 * jitter(getattr(noisy.params, name))
    assert jitter(smoothed.offset_neck) < 0.5 * jitter(noisy.offset_neck)
    torch.testing.assert_close(smoothed.params.shape, noisy.params.shape)
