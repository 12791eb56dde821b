"""Checks of a head model's values, so that a damaged file is an error of one line and not a wrong surface."""

from __future__ import annotations

import numpy as np

from nha.core.errors import UserError
from nha.core.finite import require_finite
from nha.head.assets import HeadAssets, MouthFeatureTable

_ADVICE = "get the files again"
_LARGEST = 100.0  # metres, or without a unit


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
    for name, array in (
        ("template", assets.template_vertices),
        ("shape directions", assets.shape_directions),
        ("expression directions", assets.expression_directions),
        ("pose directions", assets.pose_directions),
        ("joint regressor", assets.joint_regressor),
        ("skinning weights", assets.skinning_weights),
        ("landmarks", assets.landmark_barycentric),
    ):
        if array.size and np.abs(array).max() > _LARGEST:
            raise UserError(f"{what}: its {name} hold {np.abs(array).max():g}; {_ADVICE}")
    if assets.mouth_features is not None:
        _check_mouth_features(assets.mouth_features, len(assets.template_vertices), what)


def _check_mouth_features(table: MouthFeatureTable, n_vertices: int, what: str) -> None:
    count = len(table.minimum) if table.minimum.ndim == 1 else 0
    shapes = table.pairs.shape, table.minimum.shape, table.maximum.shape
    if not count or shapes != ((count, 2), (count,), (count,)):
        raise UserError(f"{what}: its mouth features have the shapes {shapes}; {_ADVICE}")
    require_finite({"minimum": table.minimum, "maximum": table.maximum}, f"{what}: mouth_features", _ADVICE)
    if not 0 <= table.pairs.min() <= table.pairs.max() < n_vertices:
        raise UserError(f"{what}: its mouth features name the vertex {table.pairs.max()}; {_ADVICE}")
    if not (table.minimum < table.maximum).all():
        raise UserError(f"{what}: the range of a mouth feature is empty; {_ADVICE}")
