"""How far the animated mouth and eyelids open, compared with those of the driving person."""

from __future__ import annotations

import json

import pytest
import torch

from nha.avatar.arkit_motion import arkit_pose
from nha.reenactment.files import DrivingPerson, ReenactmentFiles
from nha.reenactment.motion_report import motion_slopes, write_motion
from nha.reenactment.tracked_people import TrackedPerson
from nha.reenactment.transfer import Actor, Motion
from tests.evaluation.conftest import make_tracking

FRAMES = [0, 1, 2, 3]


@pytest.fixture
def person(avatar) -> TrackedPerson:
    tracking = make_tracking(avatar.head, tuple(FRAMES))
    return TrackedPerson(Actor(avatar, tracking.params_for([0]), 0), tracking)


def test_the_same_motion_has_slope_one_and_a_still_face_zero(person, avatar):
    params = avatar.corrected(person.tracking.params_for(FRAMES), torch.tensor(FRAMES))
    same = motion_slopes(person, person, Motion(params, params.neck), FRAMES)
    assert same["lip_slope"] == pytest.approx(1, abs=1e-4)
    assert same["lip_correlation"] == pytest.approx(1, abs=1e-4)
    still = params[[1, 1, 1, 1]]
    assert motion_slopes(person, person, Motion(still, still.neck), FRAMES)["lip_slope"] == pytest.approx(0)


def test_slopes_are_written_and_logged_where_they_are_known(tmp_path, caplog):
    files = ReenactmentFiles.at(tmp_path)
    slopes = {
        "lip_slope": 0.9,
        "lip_correlation": 0.99,
        "lid_slope": float("nan"),
        "lid_correlation": float("nan"),
    }
    with caplog.at_level("INFO", logger="nha"):
        write_motion(DrivingPerson("friend", None, None, None, None, files), slopes)
    content = json.loads((tmp_path / "motion.json").read_text())
    assert content == slopes | {"lid_slope": None, "lid_correlation": None}
    assert "friend: mouth 0.90 (0.99)" in caplog.text
    assert "eyelids" not in caplog.text


def test_the_share_of_the_neutral_opening_does_not_depend_on_the_size_of_the_eyes(person, avatar):
    poses = [
        avatar.head.neutral_params(1).replace(
            expr=arkit_pose(avatar.head, None, {"eyeBlinkLeft": closed}).expr
        )
        for closed in (0.0, 0.2, 0.4, 0.6)
    ]
    expr = torch.cat([pose.expr for pose in poses])
    person.tracking.expr[:] = expr.numpy()
    driving = TrackedPerson(Actor(None, person.tracking.params_for([0]), 0), person.tracking)
    narrow = TrackedPerson(Actor(avatar, person.tracking.params_for([2]), 2), person.tracking)
    params = avatar.corrected(person.tracking.params_for(FRAMES), None)
    slopes = motion_slopes(narrow, driving, Motion(params, params.neck), FRAMES)
    # the same motion, which is larger as a share of the narrow eyes
    assert slopes["lid_slope"] == pytest.approx(1, abs=0.05)
    assert slopes["lid_share_slope"] > 1.15 * slopes["lid_slope"]
