"""Blink and ARKit's shapes as morph targets, and eyeballs behind their lids."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from nha.core.conventions import EYE_CLOSURE_PAIRS
from nha.core.errors import UserError
from nha.export.accuracy import vertex_errors_mm
from nha.export.eyeballs import eyeball_shifts, move_eyeballs_back
from nha.export.face_shapes import FaceShapes, add_blink, make_arkit_rig
from nha.export.poses import frame_params, neutral_params
from nha.export.rig import make_rig, pose_rig, rig_motion
from nha.export.settings import ExportSettings
from nha.head.arkit_shapes import ARKIT_NAMES
from tests.export.conftest import FRAMES


@pytest.fixture(scope="module")
def neutral(calm_avatar, tracking):
    return neutral_params(calm_avatar, tracking)


def openings(avatar, vertices) -> torch.Tensor:
    """Distances [4] of the lids, negative where they overlap."""
    points = avatar.head.landmarks(vertices.float())[0]
    upper, lower = (list(ids) for ids in zip(*EYE_CLOSURE_PAIRS, strict=True))
    return (points[upper] - points[lower])[:, 1]


def test_a_blink_closes_the_eyes_of_the_avatars_own_surface(calm_avatar, neutral) -> None:
    surface = calm_avatar.surface(neutral)
    rig = add_blink(calm_avatar, make_rig(calm_avatar, surface, 3, neutral), neutral)
    assert rig.morphs.names[-1] == "blink"
    motion = rig_motion(calm_avatar, rig, neutral)
    assert motion.weights[0, -1] == 0
    rest = openings(calm_avatar, pose_rig(rig, motion))
    motion.weights[0, -1] = 1
    closed = openings(calm_avatar, pose_rig(rig, motion))
    for eye in (slice(0, 2), slice(2, 4)):
        assert abs(closed[eye].mean()) < 0.1 * rest[eye].mean()


def test_arkit_targets_are_the_avatars_surface_at_1(calm_avatar, neutral, tracking) -> None:
    poses = frame_params(calm_avatar, tracking, FRAMES)
    rig = make_arkit_rig(calm_avatar, neutral, poses)
    assert rig.morphs.names[-52:] == ARKIT_NAMES
    shapes = FaceShapes(calm_avatar, neutral)
    for name in ("jawOpen", "mouthSmileLeft", "eyeBlinkRight", "eyeLookInLeft"):
        params = shapes.params(**{name: 1.0})
        motion = rig_motion(calm_avatar, rig, params)
        assert motion.weights[0, -52:].argmax() == ARKIT_NAMES.index(name)
        assert torch.equal(motion.rotations[:, 2:], rig_motion(calm_avatar, rig, neutral).rotations[:, 2:])
        motion.weights[0, -52:] = torch.eye(52)[ARKIT_NAMES.index(name)]
        expected = calm_avatar.surface(params).vertices.double()
        assert (pose_rig(rig, motion) - expected).norm(dim=2).max() < 3e-5
    assert vertex_errors_mm(calm_avatar, rig, poses).mean() < 3
    # without the targets nothing of the face moves
    still = dataclasses.replace(rig, face=None)
    assert (
        vertex_errors_mm(calm_avatar, rig, poses).mean() < vertex_errors_mm(calm_avatar, still, poses).mean()
    )


def test_a_bind_frame_does_not_go_with_arkit(tmp_path) -> None:
    with pytest.raises(UserError, match="--shapes arkit"):
        ExportSettings(ckpt=None, out=tmp_path, shapes="arkit", bind_frame=3).check()


def test_eyeballs_move_behind_lids_that_lie_inside_them(plain_avatar, tracking) -> None:
    neutral = neutral_params(plain_avatar, tracking)
    head = plain_avatar.head
    assert max(eyeball_shifts(plain_avatar, neutral, neutral)) < 0.001
    forward = head.template.clone()
    ids = head.kept_vertices[head.hard_labels[:, head.part("left_eyeball")] > 0]
    forward[ids, 2] += 0.003
    original, head.template = head.template, forward
    try:
        left, right = eyeball_shifts(plain_avatar, neutral, neutral)
        assert left == pytest.approx(0.003, abs=0.0015)
        assert right < 0.001
        rig = make_rig(plain_avatar, plain_avatar.surface(neutral), 2, neutral)
    finally:
        head.template = original
    moved = (move_eyeballs_back(plain_avatar, rig, (left, right)).rest - rig.rest).numpy()
    eyeball = (head.hard_labels[:, head.part("left_eyeball")] > 0).numpy()
    assert np.allclose(moved[eyeball], [0, 0, -left])
    others = head.hard_labels[:, [head.part("left_eyeball"), head.part("right_eyeball")]].sum(1) == 0
    assert (moved[others.numpy()] == 0).all()
