"""Triangle meshes as OBJ (text, textured) and PLY (binary, coloured vertices)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nha.core.system import atomic_path

_PLY_VERTEX = np.dtype(
    [(name, "<f4") for name in ("x", "y", "z", "nx", "ny", "nz")]
    + [(name, "u1") for name in ("red", "green", "blue")]
)
_PLY_FACE = np.dtype([("count", "u1"), ("corners", "<i4", (3,))])


@dataclass(frozen=True)
class TexturedMesh:
    """vertices, normals: [V, 3] metres and unit; uvs: [T, 2] in 0..1, v up; faces, uv_faces: [F, 3] counted from
    0, counter-clockwise outside; face_material: [F] which of the materials."""

    vertices: np.ndarray
    normals: np.ndarray
    uvs: np.ndarray
    faces: np.ndarray
    uv_faces: np.ndarray
    face_material: np.ndarray


def write_obj(path: Path, mesh: TexturedMesh, mtl_name: str, materials: Sequence[str], comment: str) -> None:
    """Write a Wavefront OBJ: positions, UVs (v up), normals, and the faces of each material as a group.

    The file counts from 1, the arrays stay as they are. mtl_name: the material library beside it.
    """
    lines = [f"# {comment}", f"mtllib {mtl_name}"]
    lines += [f"v {x:.7f} {y:.7f} {z:.7f}" for x, y, z in mesh.vertices.tolist()]
    lines += [f"vt {u:.7f} {v:.7f}" for u, v in mesh.uvs.tolist()]
    lines += [f"vn {x:.5f} {y:.5f} {z:.5f}" for x, y, z in mesh.normals.tolist()]
    corners, uv_corners = mesh.faces + 1, mesh.uv_faces + 1
    for number, name in enumerate(materials):
        own = mesh.face_material == number
        lines += [f"g {name}", f"usemtl {name}"]
        lines += [
            "f " + " ".join(f"{v}/{t}/{v}" for v, t in zip(face, uv_face, strict=True))
            for face, uv_face in zip(corners[own].tolist(), uv_corners[own].tolist(), strict=True)
        ]
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_mtl(path: Path, textures: dict[str, str]) -> None:
    """Write a material library: material name -> name of its picture. Light is in the pictures: no highlight."""
    blocks = [
        f"newmtl {name}\nKa 1 1 1\nKd 1 1 1\nKs 0 0 0\nillum 1\nmap_Ka {picture}\nmap_Kd {picture}\n"
        for name, picture in textures.items()
    ]
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join(blocks), encoding="utf-8")


def write_ply(
    path: Path,
    vertices: np.ndarray,
    normals: np.ndarray,
    colours: np.ndarray,
    faces: np.ndarray,
    comment: str,
) -> None:
    """Write a binary little-endian PLY. vertices, normals: [V, 3]; colours: uint8 [V, 3]; faces: [F, 3] from 0."""
    header = [
        "ply",
        "format binary_little_endian 1.0",
        f"comment {comment}",
        f"element vertex {len(vertices)}",
    ]
    header += [
        f"property {'float' if _PLY_VERTEX[name] == '<f4' else 'uchar'} {name}" for name in _PLY_VERTEX.names
    ]
    header += [f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header", ""]
    rows = np.empty(len(vertices), _PLY_VERTEX)
    columns = [*vertices.T, *normals.T, *colours.T]
    for name, column in zip(_PLY_VERTEX.names, columns, strict=True):
        rows[name] = column
    triangles = np.empty(len(faces), _PLY_FACE)
    triangles["count"], triangles["corners"] = 3, faces
    with atomic_path(path) as temporary:
        temporary.write_bytes("\n".join(header).encode("utf-8") + rows.tobytes() + triangles.tobytes())
