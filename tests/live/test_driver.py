"""The core of live driving with landmarks that are known exactly: images in, head parameters out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nha.avatar.drive import LANDMARK_PAIRS
from nha.core.rotations import rotation_matrix, rotation_vector
from nha.head.joint_limits import JAW_LIMITS_DEG, params_from_angles
from nha.live.driver import LiveDriver, describe
from nha.live.settings import LiveSettings
from tests.live.conftest import FPS, IMAGE, calibrated, jaw_deg

LIDS = ((37, 41), (38, 40), (43, 47), (44, 46))


def follow(driver, time_s: float, seconds: float = 1.0):
    """Show the same image for a while; returns the last pose and the time."""
    for _ in range(round(seconds * FPS)):
        pose = driver.update(IMAGE, time_s)
        time_s += 1 / FPS
    return pose, time_s


def turned(params, nod_deg: float, turn_deg: float):
    angles = torch.deg2rad(torch.tensor([[nod_deg, turn_deg, 0.0]]))
    rotation = rotation_vector(rotation_matrix(params.rotation) @ rotation_matrix(angles))
    return params.replace(rotation=rotation)


def jaw_opened(params, degrees: float):
    angles = torch.deg2rad(torch.tensor([[degrees, 0.0, 0.0]]))
    return params.replace(jaw=params_from_angles(angles, JAW_LIMITS_DEG))


def test_the_calibration_takes_a_second_and_shows_the_neutral_pose(driver, poses):
    first = driver.update(IMAGE, 0.0)
    assert first.status == "calibrating"
    assert torch.equal(first.params.expr, poses.neutral.expr)
    assert "look at the camera" in describe(first)
    middle = [driver.update(IMAGE, i / FPS) for i in range(1, 25)][11]
    assert 0.4 < middle.progress < 0.6
    assert "calibrating 4" in describe(middle)
    assert driver.update(IMAGE, 1.0).status == "following"


def test_a_resting_face_leaves_the_avatar_at_rest(driver, poses):
    pose, _ = follow(driver, calibrated(driver))
    assert pose.status == "following"
    assert float((pose.params.expr - poses.neutral.expr).abs().max()) < 0.05
    assert float((pose.params.rotation - poses.neutral.rotation).norm()) < 0.01
    assert float((pose.params.translation - poses.neutral.translation).norm()) < 0.005
    assert torch.equal(pose.params.shape, poses.neutral.shape)  # the avatar's own identity stays


def test_head_and_jaw_move_as_the_driving_person_does(driver, actor, poses):
    time_s = calibrated(driver)
    actor.params = jaw_opened(turned(actor.params, 8.0, 20.0), 15.0)
    pose, _ = follow(driver, time_s)
    turn = rotation_matrix(poses.neutral.rotation).mT @ rotation_matrix(pose.params.rotation)
    angles = torch.rad2deg(rotation_vector(turn))[0]
    assert angles.tolist() == pytest.approx([8.0, 20.0, 0.0], abs=2.5)  # an open jaw looks like a small nod
    lips = lip_gap(driver, pose.params)
    wanted = lip_gap(driver, jaw_opened(poses.neutral, 15.0))
    assert lips == pytest.approx(wanted, rel=0.25)
    assert jaw_deg(pose.params) > 8


def lip_gap(driver: LiveDriver, params) -> float:
    """Distance of the inner lips in metres."""
    upper, lower = driver._fit._head.plain_landmarks(params, torch.tensor([62, 66]))[0]
    return float((upper - lower).norm())


def lid_gaps(head, params) -> torch.Tensor:
    points = head.plain_landmarks(params, torch.tensor(LIDS).flatten())[0].unflatten(0, (-1, 2))
    return (points[:, 0] - points[:, 1]).norm(dim=-1)


def test_lids_close_as_far_as_the_driving_persons(driver, actor, head, poses):
    """With another face, the same coefficients would leave a gap: their distances decide."""
    time_s = calibrated(driver)
    rest = lid_gaps(head, actor.params)
    blink = torch.zeros_like(actor.params.expr)
    blink[0, [head.expression_names.index(name) for name in ("blink_left", "blink_right")]] = 1.4
    actor.params = actor.params.replace(expr=blink)
    closed = lid_gaps(head, actor.params) / rest
    pose, _ = follow(driver, time_s)
    own = lid_gaps(head, pose.params) / lid_gaps(head, poses.neutral)
    assert float(closed.max()) < 0.4
    assert float((own - closed).abs().max()) < 0.12


def test_a_lost_face_keeps_the_pose_and_returns_smoothly(driver, actor):
    time_s = calibrated(driver)
    followed, time_s = follow(driver, time_s)
    there, actor.params = actor.params, None
    lost, time_s = follow(driver, time_s)
    assert lost.status == "lost"
    assert describe(lost) == "face lost: the last pose is kept"
    assert torch.equal(lost.params.rotation, followed.params.rotation)
    actor.params = turned(there, 0.0, 30.0)
    angles = []
    for _ in range(25):
        pose = driver.update(IMAGE, time_s)
        time_s += 1 / FPS
        turn = rotation_matrix(lost.params.rotation).mT @ rotation_matrix(pose.params.rotation)
        angles.append(float(torch.rad2deg(rotation_vector(turn)[0, 1])))
    assert pose.status == "following"
    assert angles[0] < 1  # not at once
    assert max(np.diff(angles)) < 6  # degrees from image to image
    assert angles[-1] == pytest.approx(30, abs=1.5)


def test_a_clock_that_goes_back_neither_stops_the_calibration_nor_the_motion(driver, actor):
    for time_s in (1e9, 1e9 + 0.5, 3.0, 3.5):
        assert 0 <= driver.update(IMAGE, time_s).progress < 1
    time_s = calibrated(driver)
    followed, _ = follow(driver, time_s + 1e6)
    actor.params = turned(actor.params, 0.0, 30.0)
    pose, _ = follow(driver, -5.0)
    turn = rotation_matrix(followed.params.rotation).mT @ rotation_matrix(pose.params.rotation)
    assert float(torch.rad2deg(rotation_vector(turn)[0, 1])) == pytest.approx(30, abs=1.5)


def test_noise_is_smoothed_and_settings_turn_it_off(avatar, poses, actor):
    def jitter(smoothing: float) -> float:
        actor.noise_px = 0.0
        settings = LiveSettings(live_smoothing=smoothing)
        driver = LiveDriver(avatar, poses.neutral, poses.camera, settings, actor)
        time_s = calibrated(driver, 1.6)
        actor.noise_px = 1.0
        found = []
        for _ in range(20):
            found.append(driver.update(IMAGE, time_s).params.expr[0])
            time_s += 1 / FPS
        return float(torch.stack(found).diff(dim=0).norm(dim=1).mean())

    assert jitter(1.0) < 0.6 * jitter(0.0)


def test_calibrating_again_takes_the_present_face_as_neutral(driver, actor, poses):
    time_s = calibrated(driver)
    actor.params = jaw_opened(actor.params, 10.0)
    opened, time_s = follow(driver, time_s)
    assert lip_gap(driver, opened.params) > 1.5 * lip_gap(driver, poses.neutral)
    driver.calibrate()
    pose, _ = follow(driver, time_s, 3.0)
    assert pose.status == "following"
    assert lip_gap(driver, pose.params) == pytest.approx(lip_gap(driver, poses.neutral), rel=0.1)


def test_lips_close_also_where_the_mouth_hung_open_during_the_calibration(driver, actor, poses):
    closed = actor.params
    actor.params = jaw_opened(closed, 10.0)
    time_s = calibrated(driver)
    actor.params = closed
    pose, time_s = follow(driver, time_s)
    upper, lower = driver._fit._head.plain_landmarks(pose.params, torch.tensor([62, 66]))[0]
    assert abs(lip_gap(driver, pose.params) - lip_gap(driver, poses.neutral)) < 0.0015
    assert float(upper[1] - lower[1]) > -0.0015  # the lips do not pass through each other
    actor.params = jaw_opened(closed, 10.0)
    pose, _ = follow(driver, time_s)
    assert lip_gap(driver, pose.params) > lip_gap(driver, poses.neutral) + 0.002


def test_a_mirrored_image_is_given_to_the_detector(avatar, poses):
    seen = []
    driver = LiveDriver(
        avatar,
        poses.neutral,
        poses.camera,
        LiveSettings(live_mirror=True),
        lambda rgb: seen.append(rgb[0, 0, 0]),
    )
    image = IMAGE.copy()
    image[:, -1] = 9
    assert driver.update(image, 0.0).status == "calibrating"
    assert seen == [9]


def test_the_distances_are_those_of_the_blend_models_drive_vector():
    assert set(LIDS) <= set(LANDMARK_PAIRS)
