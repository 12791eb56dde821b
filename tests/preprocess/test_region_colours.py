"""Hair, neck and cloth around a drawn head."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from nha.preprocess.backends.face_geometry import HeadAxes
from nha.preprocess.backends.face_surroundings import measure_surroundings
from nha.preprocess.backends.region_colours import (
    CLOTH,
    HAIR,
    NECK,
    SKIN,
    RegionEstimate,
    average_over_time,
    classify_regions,
    estimate_regions,
)

SKIN_RGB, SHADOW_RGB = (205, 160, 140), (165, 120, 100)
SHAPE = (320, 320)
CENTRE, FACE_HEIGHT = (160, 140), 130


def draw_head(
    hair_rgb, cloth_rgb, bald: bool = False, collar: tuple | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """A head of ellipses with noise: image uint8 [H, W, 3] and the true region of each pixel (255: background).

    collar: corners of a piece of cloth behind the head.
    """
    regions = np.full(SHAPE, 255, np.uint8)
    cv2.ellipse(regions, (160, 330), (130, 80), 0, 0, 360, CLOTH, -1)
    cv2.rectangle(regions, (130, 180), (190, 262), NECK, -1)
    if collar:
        cv2.fillPoly(regions, [np.array(collar, np.int32)], CLOTH)
    cv2.ellipse(regions, (160, 115), (72, 85), 0, 0, 360, SKIN if bald else HAIR, -1)
    cv2.ellipse(regions, CENTRE, (52, FACE_HEIGHT // 2), 0, 0, 360, SKIN, -1)
    colours = np.zeros((256, 3), np.float32)
    colours[[SKIN, HAIR, CLOTH, NECK, 255]] = (SKIN_RGB, hair_rgb, cloth_rgb, SHADOW_RGB, (90, 140, 220))
    noise = np.random.default_rng(0).normal(0, 6, (*SHAPE, 3))
    return np.clip(colours[regions] + noise, 0, 255).astype(np.uint8), regions


def classify(rgb: np.ndarray, regions: np.ndarray) -> np.ndarray:
    face = np.zeros(SHAPE, np.uint8)
    cv2.ellipse(face, CENTRE, (48, FACE_HEIGHT // 2 - 2), 0, 0, 360, 1, -1)
    axes = HeadAxes(
        origin_px=np.array([*CENTRE, 0.0]),
        left=np.array([1.0, 0, 0]),
        up=np.array([0, -1.0, 0]),
        forward=np.array([0, 0, -1.0]),
        height_px=FACE_HEIGHT,
    )
    nothing = np.zeros(SHAPE, bool)
    chin, brow = np.array([160.0, 205.0]), np.array([140.0, 118.0])
    position = measure_surroundings(regions < 255, face > 0, nothing, axes, chin, brow)
    return classify_regions(rgb, estimate_regions(rgb, position, nothing).posterior)


@pytest.mark.parametrize(
    ("hair_rgb", "cloth_rgb"),
    [
        ((50, 35, 28), (60, 90, 60)),  # brown and green
        ((40, 32, 30), (30, 30, 34)),  # dark hair, dark shirt: only their positions differ
        ((220, 190, 110), (240, 240, 240)),  # blond and white
        ((150, 150, 155), (150, 40, 40)),  # grey and red
    ],
)
def test_regions_are_found(hair_rgb, cloth_rgb):
    rgb, regions = draw_head(hair_rgb, cloth_rgb)
    found = classify(rgb, regions)
    for region in (SKIN, HAIR, CLOTH, NECK):
        truth, guess = regions == region, (found == region) & (regions < 255)
        overlap = (truth & guess).sum() / (truth | guess).sum()
        assert overlap > 0.9, (region, overlap)


COLLAR = ((191, 190), (206, 178), (240, 260), (191, 260))


@pytest.mark.parametrize("cloth_rgb", [(20, 20, 24), (60, 90, 60)])
def test_cloth_beside_the_neck_of_a_lowered_head_is_no_neck(cloth_rgb):
    rgb, regions = draw_head((50, 35, 28), cloth_rgb, collar=COLLAR)
    found = classify(rgb, regions)
    collar = np.zeros(SHAPE, np.uint8)
    cv2.fillPoly(collar, [np.array(COLLAR, np.int32)], 1)
    above_chin = (collar > 0) & (regions == CLOTH) & (np.arange(SHAPE[0])[:, None] < 200)
    assert above_chin.sum() > 200
    assert (found[above_chin] == CLOTH).mean() > 0.9


def test_a_bald_head_has_hardly_any_hair():
    rgb, regions = draw_head((0, 0, 0), (60, 90, 60), bald=True)
    found = classify(rgb, regions)
    assert ((found == HAIR) & (regions == SKIN)).sum() < 0.05 * (regions == SKIN).sum()


def test_long_hair_at_one_side_is_hair_down_to_its_tips():
    rgb, regions = draw_head((110, 70, 50), (60, 60, 110))
    hanging = np.zeros(SHAPE, np.uint8)
    cv2.rectangle(
        hanging, (60, 110), (105, 285), 1, -1
    )  # as in profile, beyond 0.6 head heights from the chin
    hanging = (hanging > 0) & (regions != SKIN)
    regions[hanging] = HAIR
    noise = np.random.default_rng(3).normal(0, 6, (*SHAPE, 3))
    rgb[hanging] = np.clip(np.array((110, 70, 50)) + noise, 0, 255)[hanging]
    found = classify(rgb, regions)
    assert (found[hanging] == HAIR).mean() > 0.9
    cloth = regions == CLOTH
    assert (found[cloth] == CLOTH).mean() > 0.9


def test_highlights_on_hair_that_resemble_shaded_skin_stay_hair():
    rgb, regions = draw_head((120, 75, 50), (60, 90, 60))
    shine = np.zeros(SHAPE, np.uint8)
    cv2.ellipse(shine, (130, 48), (26, 9), 0, 0, 360, 1, -1)
    shade = np.zeros(SHAPE, np.uint8)
    cv2.ellipse(shade, (185, 150), (14, 30), 0, 0, 360, 1, -1)  # the same colour on a cheek
    lit = (shine > 0) & (regions == HAIR)
    noise = np.random.default_rng(4).normal(0, 6, (*SHAPE, 3))
    both = lit | ((shade > 0) & (regions == SKIN))
    rgb[both] = np.clip(np.array((180, 130, 105)) + noise, 0, 255)[both]
    found = classify(rgb, regions)
    assert (found[lit] == HAIR).mean() > 0.9


def test_a_blue_collar_in_the_shadow_of_the_chin_is_no_neck():
    collar = ((130, 225), (190, 225), (190, 262), (130, 262))
    rgb, regions = draw_head((50, 35, 28), (70, 90, 190), collar=collar)
    dark = np.zeros(SHAPE, np.uint8)
    cv2.fillPoly(dark, [np.array(collar, np.int32)], 1)
    noise = np.random.default_rng(5).normal(0, 4, (*SHAPE, 3))
    shoulder = (regions == CLOTH) & (np.arange(SHAPE[1]) > 250)  # in the shade, too
    rgb[(dark > 0) | shoulder] = np.clip(np.array((30, 45, 110)) + noise, 0, 255)[(dark > 0) | shoulder]
    found = classify(rgb, regions)
    assert (found[dark > 0] == CLOTH).mean() > 0.8


def test_static_regions_are_averaged_and_moving_ones_are_not():
    rng = np.random.default_rng(0)
    rgb = rng.uniform(0, 255, (40, 40, 3)).astype(np.float32)

    def estimate(image: np.ndarray) -> RegionEstimate:
        return RegionEstimate(image, rng.random((40, 40, 4)).astype(np.float32))

    now, before = estimate(rgb), [estimate(rgb), estimate(rgb + 0.5)]
    mean = (now.posterior + before[0].posterior + before[1].posterior) / 3
    np.testing.assert_allclose(average_over_time(now, before), mean, atol=0.01)
    moved = [estimate(255 - rgb)]
    changes = np.abs(average_over_time(now, moved) - now.posterior).max(axis=2)
    far = np.linalg.norm(rgb - moved[0].rgb, axis=2) > 30
    assert far.mean() > 0.9
    assert changes[far].max() < 1e-4
    np.testing.assert_array_equal(average_over_time(now, []), now.posterior)
