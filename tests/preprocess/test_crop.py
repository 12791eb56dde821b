"""The transform of a video: sizes, and images and points that agree."""

from __future__ import annotations

import numpy as np
import pytest

from nha.core.errors import UserError
from nha.preprocess.crop import FrameTransform, identity_transform, plan_transform

HEAD_BOXES = [(300, 200, 400, 320), (320, 190, 430, 310)]

PLANS = {
    "scale": {},
    "enlarge": {"longer_edge": 900},
    "square": {"force_square": True},
    "head": {"head_boxes": HEAD_BOXES},
    "square head": {"head_boxes": HEAD_BOXES, "force_square": True},
    "square head at the border": {"head_boxes": [(0, 0, 100, 60)], "force_square": True},
}


@pytest.fixture(params=PLANS, ids=str)
def transform(request) -> FrameTransform:
    return plan_transform((640, 481), **{"longer_edge": 256, **PLANS[request.param]})


def test_points_map_back(transform, fakes):
    points = np.random.default_rng(0).uniform(0, 480, (20, 2))
    back = fakes.points_to_video(transform, transform.points_to_output(points))
    np.testing.assert_allclose(back, points, atol=1e-9)
    again = FrameTransform.from_json(transform.to_json())
    np.testing.assert_array_equal(again.points_to_output(points), transform.points_to_output(points))


def test_images_labels_and_points_agree(transform):
    centre = np.array([transform.crop_x + transform.crop_w / 2, transform.crop_y + transform.crop_h / 2])
    x, y = (np.clip(centre, 30, 440)).astype(int)
    labels = np.zeros((481, 640), np.uint8)
    labels[y - 24 : y + 24, x - 24 : x + 24] = 9
    rgb = np.repeat(labels[..., None] * np.uint8(20), 3, axis=2)
    expected = transform.points_to_output(np.array([x, y], float))
    for image in (transform.apply_to_labels(labels) == 9, transform.apply_to_rgb(rgb)[..., 0] > 90):
        inside = image & transform.inside_image()
        rows, columns = np.nonzero(inside)
        np.testing.assert_allclose((columns.mean() + 0.5, rows.mean() + 0.5), expected, atol=0.75)
    assert transform.apply_to_rgb(rgb).shape == (transform.h_out, transform.w_out, 3)


def test_longer_edge_and_shape():
    plain = plan_transform((640, 480), 256)
    assert (plain.w_out, plain.h_out) == (256, 192)
    square = plan_transform((640, 480), 256, force_square=True)
    assert (square.w_out, square.h_out, square.crop_y) == (256, 256, -80)
    assert square.inside_image().mean() == pytest.approx(0.75)
    assert (square.apply_to_rgb(np.zeros((480, 640, 3), np.uint8))[:20] == 255).all()
    head = plan_transform((640, 480), 256, force_square=True, head_boxes=HEAD_BOXES)
    assert head.crop_w == head.crop_h
    assert head.inside_image().all()


def test_crop_holds_every_head():
    head = plan_transform((640, 480), 256, head_boxes=HEAD_BOXES)
    for left, top, right, bottom in HEAD_BOXES:
        assert head.crop_x < left
        assert head.crop_y < top - 0.8 * (bottom - top)
        assert head.crop_x + head.crop_w > right
        assert head.crop_y + head.crop_h > bottom


def test_identity_changes_nothing():
    rgb = np.random.default_rng(0).integers(0, 255, (9, 14, 3), dtype=np.uint8)
    np.testing.assert_array_equal(identity_transform((14, 9)).apply_to_rgb(rgb), rgb)


def test_normals_stay_unit_and_unknown_stays_unknown():
    transform = plan_transform((60, 40), 45)
    normals = np.zeros((40, 60, 3), np.float32)
    normals[10:30, 10:35] = (0, 0.6, 0.8)
    normals[10:30, 35:50] = (0.6, 0, 0.8)
    result = transform.apply_to_normals(normals)
    length = np.linalg.norm(result, axis=2)
    assert set(np.unique(length.round(5))) == {0.0, 1.0}
    np.testing.assert_allclose(result[15, 12], (0, 0.6, 0.8), atol=1e-6)


@pytest.mark.parametrize("content", [{}, {"w_in": "wide"}, {"w_in": None}])
def test_foreign_transforms_are_a_user_error(content):
    with pytest.raises(UserError, match=r"transforms\.json"):
        FrameTransform.from_json(content)


@pytest.mark.parametrize("change", [{"crop_w": 0}, {"h_out": -2}, {"w_in": 2**40}])
def test_transforms_with_impossible_sizes_are_a_user_error(change):
    content = plan_transform((40, 30), 20).to_json()
    assert FrameTransform.from_json(content).to_json() == content
    with pytest.raises(UserError, match=r"transforms\.json"):
        FrameTransform.from_json(content | change)
