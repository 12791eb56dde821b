"""The linear map between ARKit's coefficients and head parameters, for our head and for one of FLAME's form."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nha.core.conventions import EYE_CLOSURE_PAIRS, OUTER_EYE_CORNERS
from nha.head.arkit_map import ArkitMap
from nha.head.arkit_shapes import ARKIT_NAMES, EXPRESSION_SHAPES, JAW_OPEN_DEG, LOOK_DEG, mirrored_point
from nha.head.joint_limits import eyes_angles, jaw_angles
from nha.head.model import HeadModel

LIDS = {"Right": EYE_CLOSURE_PAIRS[:2], "Left": EYE_CLOSURE_PAIRS[2:]}
SMALL = {"subdivisions": 0, "blur_sigma": None}


@pytest.fixture(scope="module", params=["procedural", "flame_like"])
def model(request) -> HeadModel:
    if request.param == "procedural":
        return HeadModel(request.getfixturevalue("assets"), **SMALL)
    return HeadModel(request.getfixturevalue("flame_like"), **SMALL)


@pytest.fixture(scope="module")
def fitted(model) -> ArkitMap:
    return ArkitMap(model)


def coefficients(**values: float) -> torch.Tensor:
    table = torch.zeros(1, len(ARKIT_NAMES))
    for name, value in values.items():
        table[0, ARKIT_NAMES.index(name)] = value
    return table


def landmarks(model, fitted, **values: float) -> np.ndarray:
    """Landmarks [68, 3] in units of the distance between the outer corners of the eyes."""
    params = fitted.params(coefficients(**values), model.neutral_params(1))
    points = model.plain_landmarks(params, torch.arange(68))[0].numpy()
    rest = model.plain_landmarks(model.neutral_params(1), torch.tensor(OUTER_EYE_CORNERS))[0]
    return points / float((rest[0] - rest[1]).norm())


def test_there_are_52_names_and_mirror_images_come_in_pairs() -> None:
    assert len(ARKIT_NAMES) == len(set(ARKIT_NAMES)) == 52
    assert set(EXPRESSION_SHAPES) < set(ARKIT_NAMES)
    assert all(mirrored_point(mirrored_point(i)) == i for i in (*range(68), "cheek_left", "cheek_side_right"))
    assert [mirrored_point(i) for i in (36, 48, 8, 62)] == [45, 54, 8, 62]


def test_shapes_move_the_points_that_they_name(model, fitted) -> None:
    rest = landmarks(model, fitted)
    # the directions of a head need not be able to move one side alone
    up = {"mouthSmileLeft": 54, "browOuterUpRight": 18, "mouthUpperUpLeft": 52, "browInnerUp": 21}
    for name, point in up.items():
        moved = landmarks(model, fitted, **{name: 1.0}) - rest
        assert moved[point, 1] > 0.04, name
        assert abs(moved[mirrored_point(point), 1]) <= moved[point, 1] + 0.01, name
    width = np.linalg.norm(rest[54] - rest[48])
    pucker = landmarks(model, fitted, mouthPucker=1.0)
    assert np.linalg.norm(pucker[54] - pucker[48]) < 0.8 * width
    assert (landmarks(model, fitted, mouthLeft=1.0) - rest)[48:60, 0].min() > 0.05  # +x is the person's left


@pytest.mark.parametrize("side", ["Left", "Right"])
def test_a_blink_closes_the_eye_of_its_side(model, fitted, side) -> None:
    def opening(points: np.ndarray, pairs: tuple[tuple[int, int], ...]) -> float:
        return float(np.mean([points[upper, 1] - points[lower, 1] for upper, lower in pairs]))

    rest, closed = landmarks(model, fitted), landmarks(model, fitted, **{f"eyeBlink{side}": 1.0})
    (other,) = set(LIDS) - {side}
    assert abs(opening(closed, LIDS[side])) < 0.1 * opening(rest, LIDS[side])
    assert opening(closed, LIDS[other]) > 0.8 * opening(rest, LIDS[other])
    wide = landmarks(model, fitted, **{f"eyeWide{side}": 1.0})
    assert opening(wide, LIDS[side]) > 1.2 * opening(rest, LIDS[side])


def test_jaw_and_gaze_are_angles(model, fitted) -> None:
    neutral = model.neutral_params(1)
    params = fitted.params(coefficients(jawOpen=0.5, eyeLookOutLeft=0.5, eyeLookDownRight=0.25), neutral)
    assert np.allclose(np.degrees(jaw_angles(params.jaw)[0].numpy()), [0.5 * JAW_OPEN_DEG, 0, 0], atol=1e-3)
    expected = [0, 0.5 * LOOK_DEG, 0, 0.25 * LOOK_DEG, 0, 0]
    assert np.allclose(np.degrees(eyes_angles(params.eyes)[0].numpy()), expected, atol=1e-3)
    assert (params.expr == 0).all()


def test_the_map_and_its_inverse_belong_together(model, fitted) -> None:
    names = [name for name in ARKIT_NAMES if name != "tongueOut" and not name.startswith("mouthClose")]
    table = torch.cat([coefficients(**{name: 0.7}) for name in names])
    restored = fitted.coefficients(fitted.params(table, model.neutral_params(1)))
    expressed = [i for i, row in enumerate(table) if restored[i].max() > 0]
    assert len(expressed) >= len(names) - 6  # a head model need not express every shape
    for i in expressed:
        assert int(restored[i].argmax()) == int(table[i].argmax()), names[i]
    assert (restored - table)[expressed].abs().mean() < 0.01
    assert (fitted.coefficients(model.neutral_params(2)) == 0).all()
