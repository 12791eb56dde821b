"""The rules between raw estimates and the dataset's labels."""

from __future__ import annotations

import numpy as np
import pytest

from nha.core.conventions import Parsing, Segmentation
from nha.preprocess.cleanup import (
    assign_eye_sides,
    clean_parsing,
    irises_inside_eyes,
    segmentation_from_parsing,
)


def landmarks_with_eyes(height_px: float = 6.0) -> np.ndarray:
    """68 points, the right eye around (20, 30), the left one around (60, 30), both 16 wide: float32 [68, 2]."""
    landmarks = np.zeros((68, 2), np.float32)
    half = height_px / 2
    eye = np.array([(-8, 0), (-3, -half), (3, -half), (8, 0), (3, half), (-3, half)], np.float32)
    landmarks[36:42], landmarks[42:48] = eye + (20, 30), eye + (60, 30)
    return landmarks


def test_eyes_get_the_side_of_the_nearer_landmarks():
    parsing = np.full((60, 80), Parsing.SKIN, np.uint8)
    parsing[28:32, 14:26] = Parsing.L_EYE  # swapped on purpose
    parsing[28:32, 54:66] = Parsing.R_EYE
    parsing[28:32, 60:66] = Parsing.L_EYE  # and half of one eye torn apart
    before = parsing.copy()
    result = assign_eye_sides(parsing, landmarks_with_eyes())
    assert (result[28:32, 14:26] == Parsing.R_EYE).all()
    assert (result[28:32, 54:66] == Parsing.L_EYE).all()
    assert (result == Parsing.SKIN).sum() == (before == Parsing.SKIN).sum()
    np.testing.assert_array_equal(parsing, before)


def test_headwear_is_hair_and_no_matte_is_background():
    parsing = np.full((4, 4), Parsing.SKIN, np.uint8)
    parsing[0] = Parsing.HEADWEAR
    matte = np.ones((4, 4))
    matte[:, 0] = 0
    inside = np.ones((4, 4), bool)
    inside[3] = False
    result = clean_parsing(parsing, matte, inside)
    assert (result[0, 1:] == Parsing.HAIR).all()
    assert (result[1:3, 1:] == Parsing.SKIN).all()
    assert (result[:, 0] == Parsing.BACKGROUND).all()
    assert (result[3] == Parsing.BACKGROUND).all()


def test_all_but_background_and_cloth_is_head():
    labels = np.array([list(Parsing)], np.uint8)
    head = segmentation_from_parsing(labels)[0]
    other = {int(label) for label, s in zip(labels[0], head, strict=True) if s == Segmentation.BACKGROUND}
    assert other == {Parsing.BACKGROUND, Parsing.CLOTH}
    assert set(np.unique(head)) == {Segmentation.BACKGROUND, Segmentation.HEAD}


@pytest.mark.parametrize(
    ("right", "height", "accepted"),
    [
        ((20, 30), 6, True),
        ((24, 31), 6, True),
        ((20, 38), 6, False),
        ((40, 30), 6, False),
        ((20, 30), 1, False),
    ],
)
def test_irises_must_lie_in_open_eyes(right, height, accepted):
    irises = np.array([right, (60, 30)], np.float32)
    result = irises_inside_eyes(irises, landmarks_with_eyes(height))
    np.testing.assert_array_equal(result, irises if accepted else np.full((2, 2), -1, np.float32))
