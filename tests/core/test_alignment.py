"""Alignment of corresponding points."""

import numpy as np
import torch

from nha.core.alignment import align
from nha.core.rotations import rotation_matrix


def test_alignment_recovers_a_similarity_and_never_reflects():
    rng = np.random.default_rng(1)
    source = rng.normal(size=(3, 20, 3))
    rotation = rotation_matrix(torch.from_numpy(rng.normal(size=(3, 3)))).numpy()
    target = 1.7 * source @ rotation + [[[1, 2, 3]]]
    found = align(source, target, with_scale=True)
    np.testing.assert_allclose(found.apply(source), target, atol=1e-10)
    np.testing.assert_allclose(found.rotation, rotation, atol=1e-10)
    np.testing.assert_allclose(found.scale, 1.7)
    mirrored = align(source, source * [-1, 1, 1])
    np.testing.assert_allclose(np.linalg.det(mirrored.rotation), 1)
    np.testing.assert_allclose(mirrored.scale, 1)
