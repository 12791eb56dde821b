"""Values continued over a mesh."""

from __future__ import annotations

import numpy as np

from nha.avatar.mesh_fill import continue_values, smoothed_values

CHAIN = np.stack([np.arange(9), np.arange(1, 10)], 1)  # ten vertices in a row
VALUES = np.arange(10.0)[:, None] * [1, 2] + 100


def test_gaps_are_bridged_and_the_rest_is_the_same():
    free = np.zeros(10, bool)
    free[3:7] = True
    values = VALUES.copy()
    values[free] = -5
    filled = continue_values(values, free, CHAIN)
    np.testing.assert_allclose(filled, VALUES, atol=1e-5)
    assert (filled[~free] == values[~free]).all()
    assert (values[free] == -5).all()


def test_open_ends_are_constant_or_continue_the_slope():
    free = np.arange(10) >= 6
    values = np.where(free[:, None], 0, VALUES)
    flat = continue_values(values, free, CHAIN)
    np.testing.assert_allclose(flat[6:], np.repeat(VALUES[5:6], 4, 0), atol=1e-4)
    bent = continue_values(values, free, CHAIN, bend=1e3)
    slopes = np.diff(bent[5:, 0])
    assert slopes[0] > 0.7
    assert (slopes > 0.1).all()


def test_wanted_differences_are_taken_over_from_a_held_end():
    free = np.arange(10) >= 4
    values = np.where(free[:, None], 0, VALUES)
    steps = np.repeat([[-3.0, 1.0]], 9, 0)  # from the first to the second end
    filled = continue_values(values, free, CHAIN, np.full(9, 2.0), differences=steps)
    np.testing.assert_allclose(filled[4:], VALUES[3] + steps[0] * np.arange(1, 7)[:, None], atol=1e-4)


def test_far_from_held_values_those_that_are_pulled_take_the_other_value():
    free = np.arange(10) >= 2
    filled = continue_values(VALUES, free, CHAIN, pull=(np.where(free, 1.0, 0), np.array([7.0, 9.0])))
    assert (filled[:2] == VALUES[:2]).all()
    assert filled[2, 0] > 30
    np.testing.assert_allclose(filled[9], [7, 9], atol=0.2)


def test_weak_edges_hardly_carry_values():
    free = np.zeros(10, bool)
    free[2:8] = True
    weights = np.ones(9)
    weights[4] = 1e-6  # between vertices 4 and 5
    filled = continue_values(VALUES, free, CHAIN, weights)
    np.testing.assert_allclose(filled[2:5], np.repeat(VALUES[1:2], 3, 0), atol=1e-3)
    np.testing.assert_allclose(filled[5:8], np.repeat(VALUES[8:9], 3, 0), atol=1e-3)


def test_nothing_free_and_nothing_held():
    for free in (np.zeros(10, bool), np.ones(10, bool)):
        assert (continue_values(VALUES, free, CHAIN) == VALUES).all()


def test_smooth_values_keep_constants_and_weak_edges_do_not_mix():
    edges = np.array([[0, 1], [1, 2], [2, 3], [3, 4]])
    weights = np.array([1.0, 1.0, 1e-6, 1.0])
    flat = smoothed_values(np.ones((5, 2)), edges, weights, 4)
    np.testing.assert_allclose(flat, 1)
    step = np.array([[0.0], [0.0], [0.0], [1.0], [1.0]])
    np.testing.assert_allclose(smoothed_values(step, edges, weights, 2), step, atol=1e-5)
    peak = np.array([[0.0], [3.0], [0.0], [0.0], [0.0]])
    np.testing.assert_allclose(smoothed_values(peak, edges, weights, 1)[:, 0], [1.5, 1, 1.5, 0, 0], atol=1e-5)
