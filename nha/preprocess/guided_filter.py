"""Edge-aware smoothing: an image decides where another one may change (He, Sun, Tang 2010)."""

from __future__ import annotations

import cv2
import numpy as np


class GuidedFilter:
    """Smooths maps so that their edges follow those of a colour picture.

    Inside every window the result is the affine function of the picture's colour that fits the map best;
    windows are averaged. The windows' statistics of the picture are computed once and serve any number of
    maps.

    guide_rgb01: float32 [H, W, 3] in 0..1; radius_px: the window has 2 * radius + 1 pixels;
    eps: variance of colour that counts as flat; subsample: fit at 1/subsample of the size (1 is exact).
    """

    def __init__(self, guide_rgb01: np.ndarray, radius_px: int, eps: float, subsample: float = 1) -> None:
        # Planes instead of pixels of three numbers: plain array arithmetic is several times faster so.
        self._guide = [np.ascontiguousarray(guide_rgb01[..., k], np.float32) for k in range(3)]
        height, width = guide_rgb01.shape[:2]
        self._small_size = (max(1, round(width / subsample)), max(1, round(height / subsample)))
        self._window = (2 * max(1, round(radius_px / subsample)) + 1,) * 2
        self._small_guide = [self._shrink(plane) for plane in self._guide]
        self._guide_mean = [self._box(plane) for plane in self._small_guide]
        self._inverse_covariance = self._invert_covariance(eps)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Smooth float [H, W] or [H, W, C] maps; the result is float32 of the guide's size.

        Maps may also come at 1/subsample of the guide's size: then they are enlarged along its edges.
        """
        if values.ndim == 2:
            return self._filter_one(np.ascontiguousarray(values, np.float32))
        planes = [np.ascontiguousarray(values[..., k], np.float32) for k in range(values.shape[2])]
        return np.stack([self._filter_one(plane) for plane in planes], axis=2)

    def _filter_one(self, values: np.ndarray) -> np.ndarray:
        small = self._shrink(values)
        mean = self._box(small)
        covariance = [
            self._box(plane * small) - plane_mean * mean
            for plane, plane_mean in zip(self._small_guide, self._guide_mean, strict=True)
        ]
        slopes = [sum(self._inverse_covariance[i][j] * covariance[j] for j in range(3)) for i in range(3)]
        offset = mean - sum(slope * plane for slope, plane in zip(slopes, self._guide_mean, strict=True))
        result = self._enlarge(self._box(offset))
        for slope, plane in zip(slopes, self._guide, strict=True):
            result = result + self._enlarge(self._box(slope)) * plane
        return result

    def _invert_covariance(self, eps: float) -> list[list[np.ndarray]]:
        """Inverse of the guide's regularised covariance in every window, 3 x 3 planes, by cofactors."""

        def covariance(i: int, j: int) -> np.ndarray:
            product = self._box(self._small_guide[i] * self._small_guide[j])
            return product - self._guide_mean[i] * self._guide_mean[j] + np.float32(eps if i == j else 0)

        a, b, c, d, e, f = (covariance(i, j) for i, j in ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)))
        aa, ab, ac = d * f - e * e, c * e - b * f, b * e - c * d
        bb, bc, cc = a * f - c * c, b * c - a * e, a * d - b * b
        inverse_determinant = 1 / (a * aa + b * ab + c * ac)
        return [
            [plane * inverse_determinant for plane in row]
            for row in ((aa, ab, ac), (ab, bb, bc), (ac, bc, cc))
        ]

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
