"""Least-squares rigid motions and similarities between corresponding points (Kabsch, Umeyama)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Similarity:
    """target ~ scale * source @ rotation + translation, for each of the leading axes `...`.

    Attributes:
        rotation: [..., 3, 3], determinant 1, for row vectors: `points @ rotation`.
        translation: [..., 3], in the target's unit.
        scale: [...], 1 where only a rigid motion was asked for.
    """

    rotation: np.ndarray
    translation: np.ndarray
    scale: np.ndarray

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Move points [..., V, 3]."""
        return self.scale[..., None, None] * (points @ self.rotation) + self.translation[..., None, :]


def align(source: np.ndarray, target: np.ndarray, *, with_scale: bool = False) -> Similarity:
    """The similarity that moves source points onto target points with the least squared distance.

    Args:
        source: [..., V, 3], at least three points that are not on one line. Each set of V points is aligned on
            its own.
        target: [..., V, 3], the corresponding points.
        with_scale: find the scale too; otherwise it is 1 and the result is a rigid motion.

    Returns:
        The similarity; its rotation is never a reflection.
    """
    source_mean, target_mean = source.mean(-2, keepdims=True), target.mean(-2, keepdims=True)
    x, y = source - source_mean, target - target_mean
    u, singular, vt = np.linalg.svd(np.swapaxes(x, -2, -1) @ y)
    mirrored = np.sign(np.linalg.det(u @ vt))
    flip = np.stack([np.ones_like(mirrored), np.ones_like(mirrored), mirrored], -1)
    rotation = (u * flip[..., None, :]) @ vt
    scale = np.ones(source.shape[:-2])
    if with_scale:
        scale = (singular * flip).sum(-1) / (x**2).sum((-2, -1))
    translation = target_mean[..., 0, :] - scale[..., None] * (source_mean @ rotation)[..., 0, :]
    return Similarity(rotation, translation, scale)
