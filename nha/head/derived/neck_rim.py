"""Skinning of the neck's lower rim, which follows the torso. `docs/method.md`, section 3."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.spatial import cKDTree

from nha.head.assets import HeadAssets

ROOT_JOINT = 0
_HEIGHT = 0.05  # metres from the rim to where the skin follows the head alone


def with_rim_of_torso(assets: HeadAssets) -> HeadAssets:
    """The head model with skinning weights that let the rim of the rendered mesh follow the root joint alone.

    Above the rim the weights go over to those of the head model. Everything else stays as it is.
    """
    share = rim_share(assets)[:, None]
    weights = assets.skinning_weights
    root = np.eye(weights.shape[1])[ROOT_JOINT]
    blended = np.where(share > weights[:, ROOT_JOINT : ROOT_JOINT + 1], 1.0, 0.0)
    rest = 1 - weights[:, ROOT_JOINT : ROOT_JOINT + 1]
    scale = np.where(blended > 0, (1 - share) / np.maximum(rest, 1e-12), 1.0)
    without_root = weights * (1 - root)
    changed = without_root * scale + root * np.maximum(share, weights[:, ROOT_JOINT : ROOT_JOINT + 1])
    extended = dataclasses.replace(assets, skinning_weights=changed.astype(weights.dtype))
    extended.__dict__["identity"] = assets.identity  # of the files, with which a tracking is compared
    return extended


def rim_share(assets: HeadAssets) -> np.ndarray:
    """[V] 1 at the rim of the rendered mesh and below it, 0 from `_HEIGHT` above."""
    dropped = np.zeros(len(assets.closed.faces), bool)
    dropped[assets.lower_neck_faces] = True
    faces = assets.closed.faces
    neck = assets.hard_labels()[:, assets.part_names.index("neck")]
    above = np.unique(faces[~dropped])
    below = np.unique(faces[dropped])
    rim = np.intersect1d(above, below)
    rim = rim[neck[rim]]
    points = assets.template_vertices
    distance = cKDTree(points[rim]).query(points)[0] if len(rim) else np.full(len(points), np.inf)
    t = np.clip(1 - distance / _HEIGHT, 0, 1)
    share = t * t * (3 - 2 * t)
    share[np.setdiff1d(below, above)] = 1.0
    return share
