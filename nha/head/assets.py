"""The content of a head model's files as data classes."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

N_SHAPE = 300
N_EXPRESSION = 100


@dataclass(frozen=True)
class MeshTopology:
    """Triangles and their texture coordinates.

    Attributes:
        faces: [F, 3] vertex ids, counter-clockwise seen from outside.
        uvs: [T, 2] in 0..1, u to the right and v up in the texture image.
        uv_faces: [F, 3] ids into `uvs`.
    """

    faces: np.ndarray
    uvs: np.ndarray
    uv_faces: np.ndarray


@dataclass(frozen=True)
class MouthFeatureTable:
    """Vertex pairs whose distances describe how far the mouth is open.

    Attributes:
        pairs: [M, 2] vertex ids.
        minimum, maximum: [M] metres, the usual range of the distances.
    """

    pairs: np.ndarray
    minimum: np.ndarray
    maximum: np.ndarray


@dataclass(frozen=True)
class HeadAssets:
    """A head model as stored in its files, before any subdivision (`docs/method.md`, section 1).

    The coordinate system is FLAME's: metres, +x to the person's left, +y up, +z forward.

    Attributes:
        name: the name of the model in messages.
        folder: the folder that was read.
        licence: the licence in one line.
        template_vertices: [V, 3] metres.
        shape_directions: [V, 3, 300] metres per unit of a shape coefficient.
        expression_directions: [V, 3, 100] metres per unit of an expression coefficient.
        pose_directions: [V, 3, 36] metres per unit of the pose feature (`nha.head.lbs.pose_feature`).
        joint_regressor: [5, V], from vertices to the joints root, neck, jaw, left eye, right eye.
        skinning_weights: [V, 5], rows add up to 1.
        joint_parents: five ids, -1 for the root.
        closed: the mesh whose mouth is closed by extra faces at the end of the list (used by avatars).
        open: the mesh without these faces (used by the tracker).
        parts: vertex ids of each named part.
        landmark_faces: [70] ids in `closed.faces`, the 68 iBUG landmarks and two irises.
        landmark_barycentric: [70, 3].
        lower_neck_faces: ids of the faces that are removed for rendering.
        mouth_map_faces: ids in `closed.faces` of the faces on the mouth's UV map; None for those whose vertices are in
            the parts of the mouth.
        mouth_features: None if the model has no description that lists them.
        texture_file: the albedo space for the tracker, None if there is none.
        shape_names, expression_names: names of the first directions; empty if unknown.
        derived: names of the missing files whose tables were derived from the model instead.
        release: the release of the model file (`nha.head.releases`).
    """

    name: str
    folder: Path
    licence: str
    template_vertices: np.ndarray
    shape_directions: np.ndarray
    expression_directions: np.ndarray
    pose_directions: np.ndarray
    joint_regressor: np.ndarray
    skinning_weights: np.ndarray
    joint_parents: tuple[int, ...]
    closed: MeshTopology
    open: MeshTopology
    parts: dict[str, np.ndarray]
    landmark_faces: np.ndarray
    landmark_barycentric: np.ndarray
    lower_neck_faces: np.ndarray
    mouth_features: MouthFeatureTable | None
    texture_file: Path | None
    mouth_map_faces: np.ndarray | None = None
    shape_names: tuple[str, ...] = ()
    expression_names: tuple[str, ...] = ()
    derived: tuple[str, ...] = ()
    release: str = ""

    @property
    def part_names(self) -> tuple[str, ...]:
        """Names of the parts in alphabetical order, which is the column order of label tables."""
        return tuple(sorted(self.parts))

    @functools.cached_property
    def identity(self) -> dict[str, str]:
        """Name, release, fingerprint and measures, see `nha.head.identity`."""
        digest = hashlib.sha256()
        arrays = (self.template_vertices, self.shape_directions, self.expression_directions)
        for array in arrays:
            digest.update(np.ascontiguousarray(array, np.float32))
        measures = (*self.template_vertices.mean(0), *(array.std() for array in arrays))
        return {
            "name": self.name,
            "release": self.release or self.name,
            "fingerprint": digest.hexdigest()[:16],
            "measures": " ".join(f"{value:.8f}" for value in measures),
        }

    def hard_labels(self) -> np.ndarray:
        """Membership of the vertices in the parts, in the order of `part_names`: bool [V, P]."""
        labels = np.zeros((len(self.template_vertices), len(self.parts)), bool)
        for column, name in enumerate(self.part_names):
            labels[self.parts[name], column] = True
        return labels
