"""The rendered mesh of a head model: subdivided, without the lower neck, with label and UV tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nha.core.cache import cached_array
from nha.head.assets import HeadAssets
from nha.head.soft_labels import SOFT_LABELS_VERSION, soft_labels
from nha.head.subdivide import subdivide

EYEBALL_PARTS = ("left_eyeball", "right_eyeball")
MOUTH_PARTS = ("mouth", "teeth")


@dataclass(frozen=True)
class HeadTopology:
    """The rendered mesh (V vertices, F faces) and the full mesh that it is a part of (V' vertices, F' faces).

    The full mesh includes removed faces and the parents of subdivided faces. P is the number of parts.

    Attributes:
        all_faces: [F', 3] ids of the full mesh.
        kept_vertices: [V] ids in the full mesh of the rendered mesh's vertices.
        faces: [F, 3] ids of the rendered mesh.
        uvs, uv_faces: [T, 2] in 0..1, v up, and [F, 3] ids into them.
        template_vertices: [V', 3] metres.
        shape_directions, expression_directions, pose_directions: [V', 3, K] metres.
        joint_regressor: [5, V'].
        skinning_weights: [V', 5].
        face_coords_normed: [F, 3, 3] template positions of the faces' corners, scaled per axis to -1..1.
        face_uvmap: bool [F], True for faces on the UV map of the mouth.
        hard_labels: bool [V, P].
        soft_labels: [V, P] in 0..1; zeros if they were not computed.
        part_names: the P columns of the label tables.
    """

    all_faces: np.ndarray
    kept_vertices: np.ndarray
    faces: np.ndarray
    uvs: np.ndarray
    uv_faces: np.ndarray
    template_vertices: np.ndarray
    shape_directions: np.ndarray
    expression_directions: np.ndarray
    pose_directions: np.ndarray
    joint_regressor: np.ndarray
    skinning_weights: np.ndarray
    face_coords_normed: np.ndarray
    face_uvmap: np.ndarray
    hard_labels: np.ndarray
    soft_labels: np.ndarray
    part_names: tuple[str, ...]

    @property
    def is_eyeball(self) -> np.ndarray:
        """Bool [V]: the rendered vertices that belong to an eyeball."""
        return self.hard_labels[:, _columns(self.part_names, EYEBALL_PARTS)].any(1)


def _columns(names: tuple[str, ...], wanted: tuple[str, ...]) -> list[int]:
    return [names.index(name) for name in wanted if name in names]


def build_topology(
    assets: HeadAssets,
    *,
    subdivisions: int = 1,
    close_mouth: bool = True,
    drop_lower_neck: bool = True,
    blur_sigma: float | None = 0.01,
) -> HeadTopology:
    """Build the rendered mesh of a head model (`docs/method.md`, section 1).

    Args:
        assets: the head model.
        subdivisions: how often each face outside the eyeballs is split into four.
        close_mouth: keep the faces that close the mouth.
        drop_lower_neck: remove the faces of the lower neck.
        blur_sigma: standard deviation in metres of the soft labels; None leaves them zero, which saves seconds.
    """
    mesh = assets.closed if close_mouth else assets.open
    faces, uvs, uv_faces = mesh.faces, mesh.uvs, mesh.uv_faces
    names = assets.part_names
    labels = assets.hard_labels()
    in_mouth_map = None
    if assets.mouth_map_faces is not None:
        in_mouth_map = np.isin(np.arange(len(faces)), assets.mouth_map_faces)
    dropped = np.zeros(len(faces), bool)
    if drop_lower_neck:
        dropped[assets.lower_neck_faces] = True
    tables = {
        name: getattr(assets, name)
        for name in ("template_vertices", "shape_directions", "expression_directions", "pose_directions")
    }
    tables["skinning_weights"] = assets.skinning_weights
    tables["soft_labels"] = _blurred_labels(assets, faces, blur_sigma)

    for _ in range(subdivisions):
        in_eyeball = labels[:, _columns(names, EYEBALL_PARTS)].any(1)[faces].all(1)
        split = ~in_eyeball & ~dropped
        vertices_cut = subdivide(faces, split, len(labels))
        uvs_cut = subdivide(uv_faces, split, len(uvs))
        tables = {name: vertices_cut.extend(table) for name, table in tables.items()}
        if in_mouth_map is not None:
            in_mouth_map = np.concatenate([in_mouth_map, np.repeat(in_mouth_map[split], 4)])
        labels, uvs = vertices_cut.extend_membership(labels), uvs_cut.extend(uvs)
        faces, uv_faces = vertices_cut.faces, uvs_cut.faces
        dropped = np.concatenate([dropped | split, np.zeros(4 * int(split.sum()), bool)])

    if in_mouth_map is None:
        in_mouth_map = labels[:, _columns(names, MOUTH_PARTS)].any(1)[faces].all(1)
    used = np.zeros(len(labels), bool)
    used[faces[~dropped]] = True
    kept = np.flatnonzero(used)
    new_id = np.cumsum(used) - 1
    joints = assets.joint_regressor
    return HeadTopology(
        all_faces=faces,
        kept_vertices=kept,
        faces=new_id[faces[~dropped]],
        uvs=uvs,
        uv_faces=uv_faces[~dropped],
        joint_regressor=np.pad(joints, ((0, 0), (0, len(labels) - joints.shape[1]))),
        face_coords_normed=_normed_corners(tables["template_vertices"], faces)[~dropped],
        face_uvmap=in_mouth_map[~dropped],
        hard_labels=_labels_of_kept(labels, used),
        part_names=names,
        **{name: table for name, table in tables.items() if name != "soft_labels"},
        soft_labels=tables["soft_labels"][kept],
    )


def _blurred_labels(assets: HeadAssets, faces: np.ndarray, sigma: float | None) -> np.ndarray:
    """Soft labels float32 [V, P] of the vertices before subdivision, zeros for sigma None."""
    labels = assets.hard_labels()
    if sigma is None:
        return np.zeros(labels.shape, np.float32)
    edges = np.unique(np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), 1), axis=0)
    return cached_array(soft_labels, SOFT_LABELS_VERSION, assets.template_vertices, edges, labels, sigma)


def _normed_corners(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Corner positions [F', 3, 3], shifted and scaled so that each axis spans -1..1 over all faces."""
    corners = vertices[faces]
    low, high = corners.min((0, 1)), corners.max((0, 1))
    return (corners - low) / (high - low) * 2 - 1


def _labels_of_kept(labels: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Labels of the kept vertices; those of a removed vertex are added to the last kept vertex before it.

    The published code does this unintentionally for a few vertices at the neck. It is reproduced because it
    affects which pixels belong to the neck.
    """
    target = np.maximum(np.cumsum(used) - 1, 0)
    merged = np.zeros((int(used.sum()), labels.shape[1]), bool)
    np.logical_or.at(merged, target, labels)
    return merged
