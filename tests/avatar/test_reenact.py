import copy

import torch

from nha.avatar.reenact import Actor, reenact, transfer
from tests.avatar.conftest import camera, facing_params


def test_transfer_adds_the_drivings_change_to_the_targets_neutral(head):
    target, driving = facing_params(head, 1), facing_params(head, 3)
    target = target.replace(expr=target.expr + 0.3, shape=target.shape + 2)
    neutral = driving[:1].replace(expr=driving[:1].expr + 0.1)
    moved = transfer(target, driving, neutral)
    torch.testing.assert_close(moved.expr, torch.full_like(moved.expr, 0.2))
    torch.testing.assert_close(moved.rotation, target.rotation + driving.rotation - neutral.rotation)
    assert (moved.shape == 2).all()


def test_an_avatar_driven_by_itself_from_its_own_neutral_is_itself(avatar, head):
    tracked = facing_params(head, 3)
    frames = torch.tensor([0, 1, 2])
    actor = Actor(avatar, tracked[:1], 0)
    torch.testing.assert_close(
        reenact(actor, actor, tracked, frames, camera(3)),
        avatar(tracked, camera(3), frames),
        atol=1e-4,
        rtol=0,
    )


def test_offsets_follow_the_driving_neck_with_the_targets_correction(avatar, head):
    other = copy.deepcopy(avatar)
    with torch.no_grad():
        other.frame_parameters.neck += 0.5
    tracked = facing_params(head, 1)
    seen = []
    original = avatar.offsets
    avatar.offsets = lambda neck: seen.append(neck) or original(neck)
    reenact(Actor(avatar, tracked, 0), Actor(other, tracked, 1), tracked, torch.tensor([4]), camera(1))
    torch.testing.assert_close(seen[0], tracked.neck + avatar.frame_parameters.neck[4:5])
    # an id that the target does not have brings no correction
    reenact(Actor(avatar, tracked, 0), Actor(other, tracked, 1), tracked, torch.tensor([400]), camera(1))
    torch.testing.assert_close(seen[1], tracked.neck)
