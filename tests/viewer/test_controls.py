"""Sliders: their effect on the head parameters, and the list of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from nha.core.types import HeadParams
from nha.head.joint_limits import eyes_angles, jaw_angles, neck_angles
from nha.viewer.controls import GROUPS, JOINT_SLIDERS, expression_sliders, move_head


@pytest.fixture
def base(scene) -> HeadParams:
    return scene.poses.neutral


def degrees(angles_rad: torch.Tensor) -> np.ndarray:
    return np.degrees(angles_rad[0].numpy())


def test_at_zero_no_bit_changes(scene, base):
    zeros = {slider.name: 0.0 for slider in scene.sliders}
    for values in ({}, zeros):
        moved = move_head(base, scene.sliders, values)
        for name, value in vars(moved).items():
            assert torch.equal(value, getattr(base, name)), name


@pytest.mark.parametrize(
    ("slider", "angles", "parts"),
    [
        ("jaw_open", lambda p: jaw_angles(p.jaw), (0,)),
        ("neck_nod", lambda p: neck_angles(p.neck), (0,)),
        ("neck_turn", lambda p: neck_angles(p.neck), (1,)),
        ("eyes_turn", lambda p: eyes_angles(p.eyes), (1, 4)),
    ],
)
def test_joint_sliders_add_degrees(scene, base, slider, angles, parts):
    start = move_head(base, scene.sliders, {slider: 4.0})
    change = degrees(angles(move_head(start, scene.sliders, {slider: 7.0}))) - degrees(angles(base))
    expected = np.zeros_like(change)
    expected[list(parts)] = 11
    assert np.abs(change - expected).max() < 1e-2


def test_joints_stay_inside_their_limits(scene, base):
    wide = move_head(move_head(base, scene.sliders, {"jaw_open": 40}), scene.sliders, {"jaw_open": 40})
    assert 58 < degrees(jaw_angles(wide.jaw))[0] < 60


def test_the_head_turns_about_its_own_axes(scene, base):
    values = {"rotation_nod": 10.0, "rotation_turn": 20.0, "rotation_tilt": -15.0}
    turned = move_head(base, scene.sliders, values)
    own = Rotation.from_rotvec(np.radians([10, 20, -15]))
    expected = Rotation.from_rotvec(base.rotation[0].numpy()) * own
    difference = Rotation.from_rotvec(turned.rotation[0].numpy()).inv() * expected
    assert difference.magnitude() < 1e-4
    assert torch.equal(turned.translation, base.translation)


def test_an_open_jaw_lowers_the_chin_and_nothing_above(scene, base):
    head = scene.avatar.head
    landmarks = [
        head.landmarks(head(p))[0] for p in (base, move_head(base, scene.sliders, {"jaw_open": 15.0}))
    ]
    down = (landmarks[0] - landmarks[1])[:, 1]
    assert float(down[8]) > 0.01  # iBUG: the chin
    assert float(down[27].abs()) < 1e-4  # the root of the nose


def test_named_expressions_move_both_sides_and_are_sorted_by_usage():
    names = ("smile_left", "pucker", "smile_right", "blink_left", "blink_right")
    sliders = expression_sliders(names, torch.tensor([0.1, 0.3, 0.1, 0.5, 0.5, 9.0]), 2)
    assert [(slider.label, slider.parts) for slider in sliders] == [("blink", (3, 4)), ("pucker", (1,))]


def test_unnamed_expressions_are_sorted_by_number():
    sliders = expression_sliders((), torch.tensor([0.1, 0.9, 0.2]), 10)
    assert [slider.parts for slider in sliders] == [(0,), (1,), (2,)]
    assert sliders[0].low == -3


def test_expressions_are_added_to_those_of_the_base_pose(scene):
    slider = scene.sliders[0]
    base = scene.poses.neutral.replace(expr=torch.full_like(scene.poses.neutral.expr, 0.25))
    moved = move_head(base, scene.sliders, {slider.name: 0.5})
    change = (moved.expr - base.expr)[0]
    assert torch.equal(change.nonzero().squeeze(1), torch.tensor(sorted(slider.parts)))
    assert torch.allclose(change[list(slider.parts)], torch.tensor(0.5))


def test_every_group_has_a_slider_and_names_are_unique(scene):
    assert {slider.group for slider in scene.sliders} == set(GROUPS)
    assert len({slider.name for slider in scene.sliders}) == len(scene.sliders)
    assert all(slider.low < 0 < slider.high for slider in (*scene.sliders, *JOINT_SLIDERS))
