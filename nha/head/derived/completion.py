"""Derivation of the tables of all files that are missing in a folder of FLAME."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from nha.head.assets import MeshTopology
from nha.head.derived.landmarks import derive_landmarks
from nha.head.derived.mesh_graph import MeshGraph
from nha.head.derived.mouth import close_mouth, open_mesh
from nha.head.derived.named_vertices import is_flame_mesh, named_vertices
from nha.head.derived.parts import derive_lower_neck, derive_parts
from nha.head.derived.unwrap import unwrap_head
from nha.head.file_guide import CLOSED_MESH, LANDMARK_FILE, LOWER_NECK_FILE, OPEN_MESH, PARTS_FILE


@dataclass(frozen=True)
class HeadTables:
    """The content of the files beside a head model, None for missing files.

    Attributes:
        closed, open: the meshes with and without the faces that close the mouth.
        parts: vertex ids of each named part.
        landmarks: ids of faces [70] and barycentric coordinates [70, 3].
        lower_neck_faces: ids of the faces of the lower neck.
    """

    closed: MeshTopology | None
    open: MeshTopology | None
    parts: dict[str, np.ndarray] | None
    landmarks: tuple[np.ndarray, np.ndarray] | None
    lower_neck_faces: np.ndarray | None

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of the missing files."""
        files = {
            CLOSED_MESH: self.closed,
            OPEN_MESH: self.open,
            PARTS_FILE: self.parts,
            LANDMARK_FILE: self.landmarks,
            LOWER_NECK_FILE: self.lower_neck_faces,
        }
        return tuple(name for name, table in files.items() if table is None)


def complete_tables(
    found: HeadTables, template: np.ndarray, triangles: np.ndarray | None
) -> HeadTables | None:
    """Derive the tables of missing files.

    Args:
        found: the tables of the existing files.
        template: [V, 3] metres.
        triangles: [F, 3] triangles in the model's file, None if it has none.

    Returns:
        All tables, or None if some are missing and the mesh is not FLAME's.
    """
    if not found.missing:
        return found
    if triangles is None and found.open is not None:
        triangles = found.open.faces
    if triangles is None or not is_flame_mesh(triangles):
        return None
    named = named_vertices()
    graph = MeshGraph(triangles, len(template))
    parts = derive_parts(graph, named)
    mesh = found.open
    if mesh is None:
        mesh = open_mesh(found.closed, graph) if found.closed else unwrap_head(template, graph, named, parts)
    in_file_order = MeshGraph(
        mesh.faces, len(template)
    )  # landmarks and lower neck refer to this list of faces
    derived = HeadTables(
        closed=close_mouth(mesh, graph, named),
        open=mesh,
        parts=parts,
        landmarks=derive_landmarks(in_file_order, named),
        lower_neck_faces=derive_lower_neck(in_file_order, named),
    )
    present = {
        field.name: value
        for field in dataclasses.fields(found)
        if (value := getattr(found, field.name)) is not None
    }
    return dataclasses.replace(derived, **present)
