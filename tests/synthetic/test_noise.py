"""Value noise against a slow reference that computes one point at a time."""

from __future__ import annotations

import numpy as np

from nha.synthetic.noise import fractal_noise, value_noise


def _slow_value_noise(point: np.ndarray, seed: int) -> float:
    """Blend the eight lattice values around one point; a lattice value is what the noise gives there."""
    floor = np.floor(point)
    t = point - floor
    t = t * t * (3 - 2 * t)
    total = 0.0
    for corner in np.ndindex(2, 2, 2):
        weight = np.prod(np.where(corner, t, 1 - t))
        total += weight * float(value_noise((floor + corner)[None], seed)[0])
    return total


def test_value_noise_equals_its_slow_reference():
    points = np.random.default_rng(0).uniform(-9, 9, (200, 3))
    expected = [_slow_value_noise(point, 4) for point in points]
    np.testing.assert_allclose(value_noise(points, 4), expected, atol=1e-5)


def test_lattice_values_are_uncorrelated():
    lattice = np.stack(np.meshgrid(*[np.arange(-12.0, 12)] * 3), -1).reshape(-1, 3)
    values = value_noise(lattice, 1)
    assert 0 <= values.min() < 0.001
    assert 0.999 < values.max() <= 1
    assert abs(values.mean() - 0.5) < 0.01
    for neighbour in np.eye(3):
        assert abs(np.corrcoef(values, value_noise(lattice + neighbour, 1))[0, 1]) < 0.03
    assert abs(np.corrcoef(values, value_noise(lattice, 2))[0, 1]) < 0.03


def test_fractal_noise_stays_in_range():
    values = fractal_noise(np.random.default_rng(1).uniform(-50, 50, (5000, 3)), 4)
    assert 0 <= values.min() < values.max() <= 1
