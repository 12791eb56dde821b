"""Guided filter: smoothing along the edges of an image (He, Sun and Tang 2010)."""

from __future__ import annotations

import cv2
import numpy as np


class GuidedFilter:
    """Smooths maps so that their edges follow those of a colour image.

    In every window the result is the affine function of the image's colour that fits the map best; overlapping
    windows are averaged. The statistics of the image are computed once for any number of maps.

    Args:
        guide_rgb01: float32 [H, W, 3] in 0..1.
        radius_px: a window has 2 * radius + 1 pixels a side.
        eps: colour variance below which a window counts as flat.
        subsample: fit at 1/subsample of the size; 1 is exact.
    """

    def __init__(self, guide_rgb01: np.ndarray, radius_px: int, eps: float, subsample: float = 1) -> None:
        # Arithmetic is faster on separate planes, box filters are faster on interleaved channels.
        guide = np.ascontiguousarray(guide_rgb01, np.float32)
        height, width = guide.shape[:2]
        self._small_size = (max(1, round(width / subsample)), max(1, round(height / subsample)))
        self._window = (2 * max(1, round(radius_px / subsample)) + 1,) * 2
        small_guide = self._shrink(guide)
        self._guide = cv2.split(guide)
        self._small_guide = cv2.split(small_guide)
        self._guide_mean = cv2.split(self._box(small_guide))
        self._inverse_covariance = self._invert_covariance(eps)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Smooth float [H, W] or [H, W, C] maps; the result is float32 at the size of the guide.

        Maps at 1/subsample of that size are also accepted and are upsampled along its edges.
        """
        if values.ndim == 2:
            return self.smooth_plane(values)
        return np.stack([self.smooth_plane(values[..., k]) for k in range(values.shape[2])], axis=2)

    def smooth_plane(self, values: np.ndarray) -> np.ndarray:
        """Smooth one map, float [H, W] to float32 [H, W]."""
        small = self._shrink(np.ascontiguousarray(values, np.float32))
        moments = cv2.merge([small, *(plane * small for plane in self._small_guide)])
        mean, *products = cv2.split(self._box(moments))
        covariance = [
            product - plane_mean * mean
            for product, plane_mean in zip(products, self._guide_mean, strict=True)
        ]
        slopes = [sum(self._inverse_covariance[i][j] * covariance[j] for j in range(3)) for i in range(3)]
        offset = mean - sum(slope * plane for slope, plane in zip(slopes, self._guide_mean, strict=True))
        fits = cv2.split(self._box(cv2.merge([offset, *slopes])))
        result, *slopes = (self._enlarge(plane) for plane in fits)
        for slope, plane in zip(slopes, self._guide, strict=True):
            cv2.accumulateProduct(slope, plane, result)
        return result

    def _invert_covariance(self, eps: float) -> list[list[np.ndarray]]:
        """Inverse of the regularised colour covariance in every window, 3 x 3 planes, by cofactors."""
        pairs = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
        products = [self._small_guide[i] * self._small_guide[j] for i, j in pairs]
        means = [
            plane
            for three in (products[:3], products[3:])
            for plane in cv2.split(self._box(cv2.merge(three)))
        ]
        a, b, c, d, e, f = (
            mean - self._guide_mean[i] * self._guide_mean[j] + np.float32(eps if i == j else 0)
            for mean, (i, j) in zip(means, pairs, strict=True)
        )
        aa, ab, ac = d * f - e * e, c * e - b * f, b * e - c * d
        bb, bc, cc = a * f - c * c, b * c - a * e, a * d - b * b
        inverse_determinant = 1 / (a * aa + b * ab + c * ac)
        aa, ab, ac, bb, bc, cc = (plane * inverse_determinant for plane in (aa, ab, ac, bb, bc, cc))
        return [[aa, ab, ac], [ab, bb, bc], [ac, bc, cc]]

    def _box(self, plane: np.ndarray) -> np.ndarray:
        return cv2.blur(plane, self._window, borderType=cv2.BORDER_REFLECT)

    def _shrink(self, plane: np.ndarray) -> np.ndarray:
        if plane.shape[1::-1] == self._small_size:
            return plane
        return cv2.resize(plane, self._small_size, interpolation=cv2.INTER_AREA)

    def _enlarge(self, plane: np.ndarray) -> np.ndarray:
        size = self._guide[0].shape[1::-1]
        return (
            plane if plane.shape[1::-1] == size else cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR)
        )
