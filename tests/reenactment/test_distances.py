"""Lids of a driven face close by the same share of their own opening as those of the driving person."""

from __future__ import annotations

import pytest
import torch

from nha.avatar.arkit_motion import arkit_pose
from nha.avatar.blend_avatar import BlendAvatar
from nha.avatar.open import build_head
from nha.reenactment.distances import LIDS, LandmarkDistances, opening_for
from nha.reenactment.transfer import Actor, transfer, transferred_motion
from tests.small import SMALL_BLEND


def test_openings_are_shares_below_the_neutral_one_and_changes_above():
    theirs = torch.tensor([-0.001, 0.0, 0.004, 0.008, 0.010])
    opening = opening_for(theirs, torch.tensor(0.008), torch.tensor(0.006))
    torch.testing.assert_close(opening, torch.tensor([0.0, 0.0, 0.003, 0.006, 0.008]))


@pytest.fixture(scope="module")
def target(assets):
    """A blend model and its neutral pose, whose eyes are nearly half closed."""
    avatar = BlendAvatar(build_head(assets, SMALL_BLEND), SMALL_BLEND, max_frame_id=3)
    neutral = arkit_pose(avatar.head, None, {"eyeBlinkLeft": 0.4, "eyeBlinkRight": 0.4})
    return avatar.eval().requires_grad_(False), neutral


@pytest.fixture(scope="module")
def driving(target):
    """Four poses of wide eyes that close, the first one neutral; the mouth opens meanwhile."""
    head = target[0].head
    poses = [
        arkit_pose(head, None, {"eyeBlinkLeft": closed, "eyeBlinkRight": closed, "jawOpen": closed / 2})
        for closed in (0.0, 0.4, 0.8, 1.0)
    ]
    return type(poses[0])(**{name: torch.cat([vars(p)[name] for p in poses]) for name in vars(poses[0])})


def test_closed_eyes_of_the_driving_person_close_and_never_cross(target, driving):
    avatar, neutral = target
    distances = LandmarkDistances(avatar.head, neutral)
    theirs, own = distances.of(driving)[:, LIDS], distances.own[LIDS]
    added = transfer(neutral, driving, driving[:1])
    assert (
        distances.of(added)[3, LIDS] < -0.001
    ).all()  # a plain sum lets them cross by more than a millimetre
    actors = Actor(avatar, neutral, 0), Actor(None, driving[:1], 0)
    moved = transferred_motion(*actors, driving, torch.arange(4)).params
    share = distances.of(moved)[:, LIDS] / own
    torch.testing.assert_close(share, (theirs / theirs[0]).clamp_min(0), atol=0.06, rtol=0)
    others = [i for i in range(distances.own.shape[0]) if i not in LIDS]
    change = distances.of(moved)[:, others] - distances.of(added)[:, others]
    assert change.abs().max() < 5e-4
    assert torch.equal(moved.jaw, added.jaw)


def test_the_same_person_keeps_the_expression(target, driving):
    avatar, _ = target
    actor = Actor(avatar, driving[:1], 0)
    moved = transferred_motion(actor, actor, driving[:3], torch.arange(3)).params
    torch.testing.assert_close(moved.expr, driving[:3].expr, atol=1e-4, rtol=0)
