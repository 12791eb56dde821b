"""Covered faces are found by their colours, in drawn faces."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from nha.core.conventions import LANDMARK_GROUPS
from nha.data.plausibility import REGIONS, face_deviations, find_covered_faces, measure_face_colours

SKIN, LIPS, EYE, DARK = (200, 150, 125), (165, 85, 90), (225, 220, 215), (20, 20, 25)
N_FRAMES = 30


def landmarks() -> np.ndarray:
    """68 points of a face of 100 pixels, from the conventions of iBUG."""
    points = np.zeros((68, 2), np.float32)
    turn = np.linspace(0, np.pi, 17)
    points[:17] = np.stack([60 - 50 * np.cos(turn), 40 + 70 * np.sin(turn)], axis=1)
    places = {
        "right_brow": (40, 30, 12, 3), "left_brow": (80, 30, 12, 3), "right_eye": (40, 42, 10, 4),
        "left_eye": (80, 42, 10, 4), "outer_mouth": (60, 90, 18, 9), "inner_mouth": (60, 90, 12, 2),
    }  # fmt: skip
    for group, (x, y, width, height) in places.items():
        turn = np.linspace(0, 2 * np.pi, len(LANDMARK_GROUPS[group]), endpoint=False)
        shape = np.stack([-np.cos(turn) * width, -np.sin(turn) * height], axis=1)
        points[list(LANDMARK_GROUPS[group])] = shape + (x, y)
    points[27:31] = [(60, 42), (60, 50), (60, 58), (60, 66)]
    points[31:36] = [(50, 72), (55, 74), (60, 75), (65, 74), (70, 72)]
    return points


def face(rng: np.random.Generator, light: float = 1.0, closed: bool = False) -> np.ndarray:
    """The drawn face with noise, uint8 [130, 120, 3]."""
    image = np.full((130, 120, 3), (90, 110, 120), np.uint8)
    points = landmarks()
    cv2.fillPoly(image, [np.rint(points[:17]).astype(np.int32)], SKIN)
    cv2.rectangle(image, (12, 20), (108, 45), SKIN, -1)
    for group, colour in (("right_eye", EYE), ("left_eye", EYE), ("outer_mouth", LIPS)):
        if not (closed and "eye" in group):
            cv2.fillPoly(image, [np.rint(points[list(LANDMARK_GROUPS[group])]).astype(np.int32)], colour)
    return np.clip(image * light + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)


def hand(image: np.ndarray) -> None:
    """Two fingers of another shade of skin before the mouth."""
    cv2.rectangle(image, (20, 80), (95, 90), (190, 142, 118), -1)
    cv2.rectangle(image, (20, 91), (95, 101), (180, 132, 108), -1)


def glasses(image: np.ndarray) -> None:
    for x in (40, 80):
        cv2.ellipse(image, (x, 44), (17, 12), 0, 0, 360, DARK, -1)


def paper(image: np.ndarray) -> None:
    cv2.rectangle(image, (10, 70), (110, 120), (245, 245, 245), -1)


@pytest.mark.parametrize(("cover", "where"), [(hand, "lip"), (glasses, "eye"), (paper, "lip")])
def test_frames_with_something_before_the_face(cover, where):
    rng = np.random.default_rng(0)
    covered = range(20, 25)
    colours = {}
    for i in range(N_FRAMES):
        image = face(rng, light=1 + 0.1 * np.sin(i / 3), closed=i in (3, 4, 22))
        if i in covered:
            cover(image)
        colours[i] = measure_face_colours(image, landmarks())
    found = find_covered_faces(colours)
    assert sorted(found) == list(covered)
    assert all(where in regions for regions in found.values())


def test_light_blinks_and_turned_regions_are_no_fault():
    rng = np.random.default_rng(1)
    colours = {}
    for i in range(N_FRAMES):
        image = face(rng, light=0.7 if i > 20 else 1.0, closed=i % 7 == 0)
        points = landmarks()
        if i in (
            11,
            12,
        ):  # turned so far that the left cheek and eye are seen from the side, against the background
            points[42:48, 0] = 80 + 0.2 * (points[42:48, 0] - 80)
        colours[i] = measure_face_colours(image, points)
    assert find_covered_faces(colours) == {}


def test_landmarks_beside_a_face_in_profile_are_no_fault_but_a_covered_profile_is():
    rng = np.random.default_rng(4)
    colours, without_mask = {}, {}
    profile, covered = (11, 12), 13
    for i in range(N_FRAMES):
        image, points = face(rng), landmarks()
        foreground = np.zeros(image.shape[:2], bool)
        foreground[:, 10:112] = True
        if i in (
            *profile,
            covered,
        ):  # the jaw ends under the eyes, and nose and mouth reach into the background
            points[:17, 0] = 60 + 0.1 * (points[:17, 0] - 60)
            points[30, 0] = 52
            image[:, :54], foreground[:, :54] = (20, 60, 40), False
        if i == covered:
            paper(image)
        colours[i] = measure_face_colours(image, points, foreground)
        without_mask[i] = measure_face_colours(image, points)
    assert set(profile) <= set(find_covered_faces(without_mask))
    assert list(find_covered_faces(colours)) == [covered]


def test_few_frames_and_faces_outside_the_image():
    rng = np.random.default_rng(2)
    few = {i: measure_face_colours(face(rng), landmarks()) for i in range(5)}
    assert find_covered_faces(few) == {}
    outside = measure_face_colours(face(rng), landmarks() + 500)
    assert outside.shape == (len(REGIONS), 5)
    assert np.isnan(outside).all()
    colours = np.stack([*few.values()] * 4 + [outside])
    assert (face_deviations(colours)[-1] == 0).all()
