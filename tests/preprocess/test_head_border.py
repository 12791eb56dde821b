"""The border of the head mask follows the colours of the image."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from nha.core.conventions import Parsing
from nha.preprocess.cleanup import segmentation_from_parsing
from nha.preprocess.head_border import refine_head_border

SIZE, SAMPLES, CENTRE, RADIUS = 64, 8, (31.3, 32.8), 20.4
SKIN_RGB, WALL_RGB, CLOTH_RGB = (205, 160, 140), (90, 110, 130), (30, 30, 36)


def disc(radius: float, scale: int = 1) -> np.ndarray:
    """A disc, bool [SIZE * scale, SIZE * scale]; centres of pixels decide."""
    rows, columns = (np.mgrid[: SIZE * scale, : SIZE * scale] + 0.5) / scale
    return np.hypot(columns - CENTRE[0], rows - CENTRE[1]) < radius


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    """A skin-coloured disc before a wall and, in the lower half, before cloth; its edge pixels mix both colours."""
    behind = np.full((SIZE, SIZE, 3), WALL_RGB, float)
    behind[SIZE // 2 :] = CLOTH_RGB
    cover = disc(RADIUS, SAMPLES).reshape(SIZE, SAMPLES, SIZE, SAMPLES).mean((1, 3))[..., None]
    mixed = cover * np.array(SKIN_RGB) + (1 - cover) * behind
    return np.rint(cv2.GaussianBlur(mixed, (3, 3), 0.5)).astype(np.uint8)


def labels_of(head: np.ndarray) -> np.ndarray:
    labels = np.full(head.shape, Parsing.BACKGROUND, np.uint8)
    labels[SIZE // 2 :] = Parsing.CLOTH
    labels[head] = Parsing.SKIN
    labels[head & (np.arange(SIZE) >= SIZE // 2)[:, None]] = Parsing.NECK
    return labels


@pytest.mark.parametrize("error_px", [-0.8, -0.4, 0.0, 0.4, 0.8])
def test_a_border_that_is_off_by_less_than_a_pixel_comes_to_the_right_place(image, error_px):
    estimate, truth = labels_of(disc(RADIUS + error_px)), labels_of(disc(RADIUS))
    before = estimate.copy()
    refined = refine_head_border(estimate, image)
    np.testing.assert_array_equal(estimate, before)
    wrong = (segmentation_from_parsing(refined) != segmentation_from_parsing(truth)).sum()
    assert wrong <= 0.02 * 2 * np.pi * RADIUS
    assert (refined == truth).mean() > 0.999  # also the label behind the head: wall or cloth, face or neck


def test_only_the_outermost_pixels_change(image):
    estimate = labels_of(disc(RADIUS + 4))
    changed = refine_head_border(estimate, image) != estimate
    assert not (changed & (disc(RADIUS + 2.5) | ~disc(RADIUS + 5.5))).any()


def test_without_contrast_nothing_changes():
    estimate = labels_of(disc(RADIUS))
    noise = np.random.default_rng(0).integers(118, 138, (SIZE, SIZE, 3)).astype(np.uint8)
    np.testing.assert_array_equal(refine_head_border(estimate, noise), estimate)


@pytest.mark.parametrize("label", [Parsing.BACKGROUND, Parsing.SKIN])
def test_an_image_of_one_label_stays_as_it_is(image, label):
    estimate = np.full((SIZE, SIZE), label, np.uint8)
    np.testing.assert_array_equal(refine_head_border(estimate, image), estimate)


def test_a_head_at_the_edge_of_the_image_and_a_thin_one_are_possible():
    rgb = np.random.default_rng(1).integers(0, 256, (9, 7, 3)).astype(np.uint8)
    labels = np.zeros((9, 7), np.uint8)
    labels[:, 3] = Parsing.HAIR
    labels[0, :] = Parsing.SKIN
    assert refine_head_border(labels, rgb).shape == (9, 7)
