"""The ten distances between lip vertices that describe an open mouth, and their range."""

from __future__ import annotations

import numpy as np

from nha.head.procedural.template import Template

_RING = 5  # just outside the line where the lips touch
_SAMPLES = 1500


def feature_pairs(template: Template) -> np.ndarray:
    """Ten vertex pairs [10, 2]: opening in the middle and aside, diagonals, width."""
    ring = template.skin.mouth_rings[_RING]
    n = len(ring)

    def upper(step: int) -> int:
        return int(ring[step % n])

    def lower(step: int) -> int:
        return int(ring[(n // 2 - step) % n])

    near, far, corner = 3, 6, n // 4
    return np.array(
        [
            (lower(0), upper(0)),
            (upper(near), lower(-near)),
            (upper(far), lower(-far)),
            (upper(corner), upper(-corner)),
            (lower(far), upper(-far)),
            (lower(near), upper(-near)),
            (upper(-far), lower(-far)),
            (upper(-near), lower(-near)),
            (upper(near), lower(near)),
            (upper(far), lower(far)),
        ],
        dtype=np.int64,
    )


def feature_range(
    template: Template, pairs: np.ndarray, expressions: np.ndarray, weights: np.ndarray, jaw: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The 1st and 99th percentile [10] in metres of each distance over random expressions and jaw angles.

    Args:
        template: the neutral head.
        pairs: [10, 2] vertex ids.
        expressions: [E, V, 3] mm at coefficient 1.
        weights: [V, 5] skinning weights.
        jaw: [3] the jaw joint in mm.
    """
    rng = np.random.Generator(np.random.PCG64(7))
    ids = np.unique(pairs)
    coefficients = 0.7 * rng.standard_normal((_SAMPLES, len(expressions)))
    angles = np.radians(np.clip(np.abs(rng.normal(0.0, 11.0, _SAMPLES)), 0.0, 35.0))
    points = template.vertices[ids] + np.einsum("se,evc->svc", coefficients, expressions[:, ids])
    arm = points - jaw
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    turned = np.stack(
        [arm[..., 0], cos * arm[..., 1] - sin * arm[..., 2], sin * arm[..., 1] + cos * arm[..., 2]], -1
    )
    points = points + weights[ids, 2][None, :, None] * (turned - arm)
    local = np.searchsorted(ids, pairs)
    distance = np.linalg.norm(points[:, local[:, 0]] - points[:, local[:, 1]], axis=-1) / 1000.0
    return np.percentile(distance, 1, axis=0), np.percentile(distance, 99, axis=0)
