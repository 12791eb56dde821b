"""Distances to landmark curves against dense sampling."""

from __future__ import annotations

import numpy as np

from nha.synthetic.anatomy import distance_to_curve, signed_distance_to_loop, smooth_curve, smooth_loop

_CURVE = np.array([(0.0, 0, 0), (2, 1, 0), (3, 1, 2), (3, -2, 2)])


def test_distance_to_curve_equals_dense_sampling():
    points = np.random.default_rng(0).uniform(-4, 4, (50, 3))
    dense = np.concatenate([np.linspace(a, b, 4001) for a, b in zip(_CURVE[:-1], _CURVE[1:], strict=True)])
    gaps = np.linalg.norm(points[:, None] - dense[None], axis=-1)
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(dense, axis=0), axis=1))])
    distance, along = distance_to_curve(points, _CURVE)
    np.testing.assert_allclose(distance, gaps.min(1), atol=1e-3)
    np.testing.assert_allclose(along, (length / length[-1])[gaps.argmin(1)], atol=2e-3)


def test_signed_distance_to_a_square():
    square = np.array([(-1.0, -1), (1, -1), (1, 1), (-1, 1)])
    points = np.array([(0.0, 0), (0.5, 0.2), (3, 0), (2, 2)])
    np.testing.assert_allclose(signed_distance_to_loop(points, square), [-1, -0.5, 2, np.sqrt(2)])


def test_smooth_curves_pass_through_their_points():
    np.testing.assert_allclose(smooth_curve(_CURVE, 6)[::6], _CURVE)
    np.testing.assert_allclose(smooth_loop(_CURVE, 5)[::5], _CURVE)
