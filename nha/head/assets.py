"""One bundle of everything a head model file set holds, and the one door through which it is found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

N_SHAPE = 300
N_EXPRESSION = 100


@dataclass(frozen=True)
class MeshTopology:
    """faces: [F, 3] vertex ids, counter-clockwise outside; uvs: [T, 2] in 0..1, v up; uv_faces: [F, 3]."""

    faces: np.ndarray
    uvs: np.ndarray
    uv_faces: np.ndarray


@dataclass(frozen=True)
class MouthFeatureTable:
    """pairs: [M, 2] vertex ids; minimum, maximum: [M] metres, the usual range of their distances."""

    pairs: np.ndarray
    minimum: np.ndarray
    maximum: np.ndarray


@dataclass(frozen=True)
class HeadAssets:
    """A head model as its files give it (V vertices, before any subdivision). Method, section 1.

    name: what it is called in messages; folder: where it was read from; licence: one line.
    template_vertices: [V, 3] metres; shape_directions: [V, 3, 300]; expression_directions: [V, 3, 100];
    pose_directions: [V, 3, 36]; joint_regressor: [5, V]; skinning_weights: [V, 5];
    joint_parents: five ids, -1 for the root (joints: root, neck, jaw, left eye, right eye).
    closed: the mesh whose mouth is closed by extra faces at the end (the avatar's);
    open: the mesh without them (the tracker's).
    parts: vertex ids of each named part.
    landmark_faces: [70] ids in the original face list; landmark_barycentric: [70, 3].
    lower_neck_faces: ids of the faces that are cut off.
    mouth_features: vertex pairs that tell how the mouth is open; None where the model has no description.
    texture_file: albedo space for the tracker, None where there is none.
    shape_names, expression_names: what the first directions do, where known.
    derived: names of the files that were not there and whose tables this project has worked out instead.
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
    shape_names: tuple[str, ...] = ()
    expression_names: tuple[str, ...] = ()
    derived: tuple[str, ...] = ()

    @property
    def part_names(self) -> tuple[str, ...]:
        return tuple(sorted(self.parts))

    def hard_labels(self) -> np.ndarray:
        """Membership of the vertices in the parts, in the order of `part_names`: bool [V, P]."""
        labels = np.zeros((len(self.template_vertices), len(self.parts)), bool)
        for column, name in enumerate(self.part_names):
            labels[self.parts[name], column] = True
        return labels
