"""The guided filter against its definition: one least-squares fit a window."""

from __future__ import annotations

import numpy as np

from nha.preprocess.guided_filter import GuidedFilter


def slow_guided_filter(guide: np.ndarray, values: np.ndarray, radius: int, eps: float) -> np.ndarray:
    """Fit values = guide . slope + offset with ridge eps in each window; average over the windows of a pixel."""
    height, width = values.shape
    # OpenCV's BORDER_REFLECT repeats the border pixel itself.
    padding = ((radius, radius), (radius, radius))
    padded_guide, padded = (
        np.pad(guide, (*padding, (0, 0)), "symmetric"),
        np.pad(values, padding, "symmetric"),
    )
    fits = np.empty((height, width, 4))
    for y in range(height):
        for x in range(width):
            window = slice(y, y + 2 * radius + 1), slice(x, x + 2 * radius + 1)
            colours, targets = padded_guide[window].reshape(-1, 3), padded[window].ravel()
            centred = colours - colours.mean(axis=0)
            normal_matrix = centred.T @ centred / len(targets) + eps * np.eye(3)
            slope = np.linalg.solve(normal_matrix, centred.T @ (targets - targets.mean()) / len(targets))
            fits[y, x] = (*slope, targets.mean() - slope @ colours.mean(axis=0))
    fits = np.pad(fits, (*padding, (0, 0)), "symmetric")
    result = np.empty((height, width))
    for y in range(height):
        for x in range(width):
            mean_fit = fits[y : y + 2 * radius + 1, x : x + 2 * radius + 1].mean(axis=(0, 1))
            result[y, x] = guide[y, x] @ mean_fit[:3] + mean_fit[3]
    return result


def test_agrees_with_the_definition():
    rng = np.random.default_rng(0)
    guide, values = rng.random((14, 17, 3)).astype(np.float32), rng.random((14, 17)).astype(np.float32)
    guided = GuidedFilter(guide, 2, 0.01)
    expected = slow_guided_filter(guide, values, 2, 0.01)
    np.testing.assert_allclose(guided(values), expected, atol=2e-4)
    both = guided(np.stack([values, 1 - values], axis=2))
    np.testing.assert_allclose(both[..., 0], expected, atol=2e-4)
    np.testing.assert_allclose(both.sum(axis=2), 1, atol=1e-4)


def test_a_rough_edge_moves_to_the_images_edge():
    guide = np.zeros((64, 64, 3), np.float32)
    guide[:, 30:] = (0.8, 0.5, 0.3)
    rough = np.zeros((64, 64), np.float32)
    rough[:, 33:] = 1  # three pixels off
    small = rough[::2, ::2]
    for values in (rough, small):
        smooth = GuidedFilter(guide, 10, 1e-4, subsample=2)(values)
        assert smooth.shape == (64, 64)
        np.testing.assert_array_equal(smooth > 0.5, guide[..., 0] > 0)
