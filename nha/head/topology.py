"""From the files' mesh to the one that is drawn: subdivided, cut off at the neck, with its tables."""

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
    """The drawn mesh (V kept vertices, F kept faces) and the larger one that it was cut from ("all", V', F').

    Every per-vertex table has V' rows; `kept_vertices` [V] picks the drawn ones.
    all_faces: [F', 3] every face the model knows, coarse parents and dropped ones included;
    faces: [F, 3] in kept ids; uvs: [T, 2]; uv_faces: [F, 3].
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
        """Bool [V]: the kept vertices that lie in an eyeball part."""
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
    """Build the drawn mesh of a head model. Method, section 1.

    subdivisions: how often faces outside the eyeballs are split in four; close_mouth: keep the faces that
    close the mouth; drop_lower_neck: cut off the listed faces; blur_sigma: metres, None skips the soft labels (0).
    """
    mesh = assets.closed if close_mouth else assets.open
    faces, uvs, uv_faces = mesh.faces, mesh.uvs, mesh.uv_faces
    names = assets.part_names
    labels = assets.hard_labels()
    blurred = np.zeros(labels.shape, np.float32)
    if blur_sigma is not None:
        edges = np.unique(np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), 1), axis=0)
        inputs = (assets.template_vertices, edges, labels, blur_sigma)
        blurred = cached_array(soft_labels, SOFT_LABELS_VERSION, *inputs)
    dropped = np.zeros(len(faces), bool)
    if drop_lower_neck:
        dropped[assets.lower_neck_faces] = True
    tables = {
        name: getattr(assets, name)
        for name in ("template_vertices", "shape_directions", "expression_directions", "pose_directions")
    }
    tables |= {"skinning_weights": assets.skinning_weights, "soft_labels": blurred}

    for _ in range(subdivisions):
        in_eyeball = labels[:, _columns(names, EYEBALL_PARTS)].any(1)[faces].all(1)
        split = ~in_eyeball & ~dropped
        vertices_cut = subdivide(faces, split, len(labels))
        uvs_cut = subdivide(uv_faces, split, len(uvs))
        tables = {name: vertices_cut.extend(table) for name, table in tables.items()}
        labels, uvs = vertices_cut.extend_membership(labels), uvs_cut.extend(uvs)
        faces, uv_faces = vertices_cut.faces, uvs_cut.faces
        dropped = np.concatenate([dropped | split, np.zeros(4 * int(split.sum()), bool)])

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
        face_uvmap=labels[:, _columns(names, MOUTH_PARTS)].any(1)[faces[~dropped]].all(1),
        hard_labels=_labels_of_kept(labels, used),
        part_names=names,
        **{name: table for name, table in tables.items() if name != "soft_labels"},
        soft_labels=tables["soft_labels"][kept],
    )


def _normed_corners(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Corner positions, shifted and scaled per axis to -1..1 over all faces: [F', 3, 3]."""
    corners = vertices[faces]
    low, high = corners.min((0, 1)), corners.max((0, 1))
    return (corners - low) / (high - low) * 2 - 1


def _labels_of_kept(labels: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Labels of the kept vertices; a removed vertex hands its own to the last kept one before it.

    The hand-over is an accident of the published code that a few vertices at the neck show; it is kept
    because it decides which pixels belong to the neck.
    """
    heir = np.maximum(np.cumsum(used) - 1, 0)
    merged = np.zeros((int(used.sum()), labels.shape[1]), bool)
    np.logical_or.at(merged, heir, labels)
    return merged
