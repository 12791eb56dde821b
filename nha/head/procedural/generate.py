"""Generation of all tables of the procedural head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nha.head.procedural.expressions import expression_directions
from nha.head.procedural.fields import FieldMaker, lid_displacement
from nha.head.procedural.identity import identity_directions
from nha.head.procedural.landmarks import build_landmarks
from nha.head.procedural.mouth_features import feature_pairs, feature_range
from nha.head.procedural.regions import build_parts, lower_neck_faces
from nha.head.procedural.rig import (
    JOINT_PARENTS,
    joint_regressor,
    joints_mm,
    pose_directions,
    skinning_weights,
)
from nha.head.procedural.template import Template, build_template, to_metres
from nha.head.procedural.texture import DIRECTION_NAMES, build_texture
from nha.head.procedural.unwrap import build_uv_map

N_SHAPE, N_EXPRESSION = 300, 100


@dataclass(frozen=True)
class HeadFiles:
    """The content of a head folder in FLAME's layout: metres, +x to the person's left, +y up, +z forward.

    Attributes:
        template_vertices: [V, 3].
        shape_directions, expression_directions: [V, 3, 300] and [V, 3, 100], padded with zeros.
        pose_directions: [V, 3, 36].
        joint_regressor: [5, V].
        skinning_weights: [V, 5].
        joint_parents: (-1, 0, 1, 1, 1).
        faces, mouth_faces: [F, 3] and the faces that close the mouth [M, 3].
        uvs, uv_faces, mouth_uv_faces: [T, 2], [F, 3] and [M, 3]; see `UvMap`.
        parts: vertex ids by name.
        landmark_faces, landmark_barycentric: [70] and [70, 3].
        lower_neck_faces: ids of the faces of the lower neck.
        mouth_feature_pairs, mouth_feature_minimum, mouth_feature_maximum: [10, 2], [10] and [10] metres.
        shape_names, expression_names: names of the directions.
        texture_mean, texture_directions: [512, 512, 3] and [512, 512, 3, 10], BGR in 0..255.
        texture_names: names of the texture directions.
    """

    template_vertices: np.ndarray
    shape_directions: np.ndarray
    expression_directions: np.ndarray
    pose_directions: np.ndarray
    joint_regressor: np.ndarray
    skinning_weights: np.ndarray
    joint_parents: tuple[int, ...]
    faces: np.ndarray
    mouth_faces: np.ndarray
    uvs: np.ndarray
    uv_faces: np.ndarray
    mouth_uv_faces: np.ndarray
    parts: dict[str, np.ndarray]
    landmark_faces: np.ndarray
    landmark_barycentric: np.ndarray
    lower_neck_faces: np.ndarray
    mouth_feature_pairs: np.ndarray
    mouth_feature_minimum: np.ndarray
    mouth_feature_maximum: np.ndarray
    shape_names: tuple[str, ...]
    expression_names: tuple[str, ...]
    texture_mean: np.ndarray
    texture_directions: np.ndarray
    texture_names: tuple[str, ...]


def _padded(fields: dict[str, np.ndarray], count: int) -> np.ndarray:
    stacked = np.stack(list(fields.values()), -1) / 1000.0
    out = np.zeros((*stacked.shape[:2], count))
    out[..., : stacked.shape[-1]] = stacked
    return out


def generate_head() -> HeadFiles:
    """Generate the procedural head; deterministic."""
    template: Template = build_template()
    make = FieldMaker(template)
    shapes, expressions = identity_directions(make), expression_directions(make)
    uv_map = build_uv_map(template)
    landmark_faces, landmark_barycentric = build_landmarks(template)
    weights = skinning_weights(template)
    pairs = feature_pairs(template)
    low, high = feature_range(
        template, pairs, np.stack(list(expressions.values())), weights, joints_mm(template)[2]
    )
    mean, directions = build_texture(template, uv_map)
    blink = {side: lid_displacement(template, side) for side in ("left", "right")}
    return HeadFiles(
        template_vertices=to_metres(template.vertices),
        shape_directions=_padded(shapes, N_SHAPE),
        expression_directions=_padded(expressions, N_EXPRESSION),
        pose_directions=pose_directions(template, blink) / 1000.0,
        joint_regressor=joint_regressor(template),
        skinning_weights=weights,
        joint_parents=JOINT_PARENTS,
        faces=template.faces,
        mouth_faces=template.mouth_faces,
        uvs=uv_map.uvs,
        uv_faces=uv_map.uv_faces,
        mouth_uv_faces=uv_map.mouth_uv_faces,
        parts=build_parts(template),
        landmark_faces=landmark_faces,
        landmark_barycentric=landmark_barycentric,
        lower_neck_faces=lower_neck_faces(template),
        mouth_feature_pairs=pairs,
        mouth_feature_minimum=low,
        mouth_feature_maximum=high,
        shape_names=tuple(shapes),
        expression_names=tuple(expressions),
        texture_mean=mean,
        texture_directions=directions,
        texture_names=DIRECTION_NAMES,
    )
