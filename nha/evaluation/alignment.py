"""The best rigid motion, or similarity, between corresponding points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Similarity:
    """target ~ scale * source @ rotation + translation, per frame.

    rotation: [F, 3, 3], determinant 1 (row vectors are multiplied from the left); translation: [F, 3];
    scale: [F].
    """

    rotation: np.ndarray
    translation: np.ndarray
    scale: np.ndarray

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Move points [F, V, 3]."""
        return self.scale[:, None, None] * (points @ self.rotation) + self.translation[:, None]


def align(source: np.ndarray, target: np.ndarray, *, with_scale: bool = False) -> Similarity:
    """Least-squares alignment of corresponding points, each frame on its own (Kabsch, Umeyama).

    source, target: [F, V, 3], at least three points that are not on one line. Without `with_scale`, scale is 1.
    """
    source_mean, target_mean = source.mean(1, keepdims=True), target.mean(1, keepdims=True)
    x, y = source - source_mean, target - target_mean
    u, singular, vt = np.linalg.svd(np.swapaxes(x, 1, 2) @ y)
    mirrored = np.sign(np.linalg.det(u @ vt))
    flip = np.stack([np.ones_like(mirrored), np.ones_like(mirrored), mirrored], -1)  # never a reflection
    rotation = (u * flip[:, None]) @ vt
    scale = np.ones(len(source))
    if with_scale:
        scale = (singular * flip).sum(-1) / (x**2).sum((1, 2))
    translation = target_mean[:, 0] - scale[:, None] * (source_mean @ rotation)[:, 0]
    return Similarity(rotation, translation, scale)
