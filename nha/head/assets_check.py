"""Checks of a head model's values, so that a damaged file is an error of one line and not a wrong surface."""

from __future__ import annotations

import numpy as np

from nha.core.errors import UserError
from nha.core.finite import require_finite
from nha.head.assets import HeadAssets

_ADVICE = "get the files again"


def check_head(assets: HeadAssets) -> None:
    """Raise UserError for values that are not finite, ids outside of their tables, and joints that form no tree."""
    what = f"head model '{assets.folder}'"
    require_finite(
        {
            "template": assets.template_vertices,
            "shape directions": assets.shape_directions,
            "expression directions": assets.expression_directions,
            "pose directions": assets.pose_directions,
            "joint regressor": assets.joint_regressor,
            "skinning weights": assets.skinning_weights,
            "landmarks": assets.landmark_barycentric,
            "texture coordinates": assets.closed.uvs,
            "texture coordinates of the open mesh": assets.open.uvs,
        },
        what,
        _ADVICE,
    )
    for mesh in (assets.closed, assets.open):
        if mesh.uvs.ndim != 2 or mesh.uvs.shape[1] != 2 or mesh.uv_faces.shape != mesh.faces.shape:
            raise UserError(f"{what}: texture coordinates have shape {mesh.uvs.shape}; {_ADVICE}")
        if mesh.uv_faces.size and not 0 <= mesh.uv_faces.min() <= mesh.uv_faces.max() < len(mesh.uvs):
            raise UserError(
                f"{what}: a triangle names texture coordinate {mesh.uv_faces.max() + 1}; {_ADVICE}"
            )
    parents = assets.joint_parents
    if any(not 0 <= parent < joint for joint, parent in enumerate(parents) if joint):
        raise UserError(f"{what}: the parents of its joints are {list(parents)}, which is no tree; {_ADVICE}")
    if len(assets.landmark_faces) != len(assets.landmark_barycentric) or len(assets.landmark_faces) < 70:
        raise UserError(f"{what}: it has {len(assets.landmark_faces)} landmarks in place of 70; {_ADVICE}")
    if np.abs(assets.template_vertices).max() > 100:
        raise UserError(f"{what}: its template is larger than 100 metres; {_ADVICE}")
