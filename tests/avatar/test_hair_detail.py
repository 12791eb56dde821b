"""Detail of unseen hair: where it is taken from."""

from __future__ import annotations

import numpy as np
import pytest

from nha.avatar.hair_detail import HairPoints, mirrored_points

AXIS = np.array([0.0, 0.1, 0.02])
RADIUS = 0.1


@pytest.fixture(scope="module")
def points() -> HairPoints:
    """A half of a cylinder around the axis through the ears, from the face over the crown to the nape."""
    across, angle = np.meshgrid(np.arange(-0.05, 0.05, 0.002), np.radians(np.arange(20, 220, 1.0)))
    across, angle = across.ravel(), angle.ravel()
    position = np.stack([across, RADIUS * np.sin(angle), RADIUS * np.cos(angle)], 1) + AXIS
    return HairPoints.unrolled(position, AXIS)


def test_the_map_follows_the_surface_from_face_to_nape(points):
    assert points.radius == pytest.approx(RADIUS)
    np.testing.assert_allclose(np.unique(np.degrees(points.angle).round(6)), np.arange(20, 220))
    np.testing.assert_allclose([points.across.min(), points.across.max()], [-0.05, 0.048], atol=1e-9)


def test_hair_is_mirrored_at_the_border_of_what_is_seen(points):
    degrees = np.degrees(points.angle)
    seen = (degrees > 30) & (degrees < 100)
    row, found = mirrored_points(points, seen)
    assert seen[row].all()
    behind = (degrees > 105) & (degrees < 150)
    assert found[behind].min() == 1
    assert np.abs(points.across[row] - points.across)[behind].max() < 0.003
    mirrored = 2 * 97 - degrees[behind]  # the last seen angle, without the outer percentiles
    assert np.abs(degrees[row][behind] - mirrored).max() < 4
    farther = (degrees > 180) & (degrees < 210)  # and again at the hairline
    assert (np.diff(degrees[row][farther & (points.across == points.across[0])]) >= 0).all()
    assert found[farther].min() == 1


def test_nothing_seen_gives_nothing_and_places_beside_seen_hair_give_little(points):
    assert mirrored_points(points, np.zeros(len(points.angle), bool))[1].max() == 0
    left = points.across > 0.02
    row, found = mirrored_points(points, left & (points.angle < 1.5))
    assert left[row[found > 0]].all()
    assert found[points.across < 0].max() == 0
    assert found[left].min() > 0.5
