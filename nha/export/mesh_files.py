"""Triangle meshes as OBJ (text, textured) and PLY (binary, coloured vertices).

PLY is written by trimesh. OBJ is written here: trimesh gives every vertex one UV, which would repeat the vertices at UV
seams, and the file would lose the head model's vertex order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trimesh

from nha.core.finite import TRAIN_AGAIN, require_finite
from nha.core.system import atomic_path


@dataclass(frozen=True)
class TexturedMesh:
    """A triangle mesh with UVs.

    Attributes:
        vertices: [V, 3] metres.
        normals: [V, 3] unit.
        uvs: [T, 2] in 0..1, v up.
        faces: [F, 3] ids of vertices, counted from 0, counter-clockwise outside.
        uv_faces: [F, 3] ids of UVs.
        face_material: [F] index of each face's material.
    """

    vertices: np.ndarray
    normals: np.ndarray
    uvs: np.ndarray
    faces: np.ndarray
    uv_faces: np.ndarray
    face_material: np.ndarray

    def __post_init__(self) -> None:
        """Raise UserError for coordinates that are not finite."""
        arrays = {"vertices": self.vertices, "normals": self.normals, "texture coordinates": self.uvs}
        require_finite(arrays, "the mesh that was to be exported", TRAIN_AGAIN)


def write_obj(path: Path, mesh: TexturedMesh, mtl_name: str, materials: Sequence[str], comment: str) -> None:
    """Write a Wavefront OBJ atomically: positions, UVs (v up), normals, and one group of faces for each material.

    Args:
        path: the .obj file.
        mesh: the mesh; the file's ids count from 1, the mesh's arrays stay unchanged.
        mtl_name: name of the material library beside the file.
        materials: names of the materials.
        comment: the file's first line.
    """
    lines = [f"# {comment}", f"mtllib {mtl_name}"]
    lines += [f"v {x:.7f} {y:.7f} {z:.7f}" for x, y, z in mesh.vertices.tolist()]
    lines += [f"vt {u:.7f} {v:.7f}" for u, v in mesh.uvs.tolist()]
    lines += [f"vn {x:.5f} {y:.5f} {z:.5f}" for x, y, z in mesh.normals.tolist()]
    corners, uv_corners = mesh.faces + 1, mesh.uv_faces + 1
    for number, name in enumerate(materials):
        chosen = mesh.face_material == number
        lines += [f"g {name}", f"usemtl {name}"]
        lines += [
            "f " + " ".join(f"{v}/{t}/{v}" for v, t in zip(face, uv_face, strict=True))
            for face, uv_face in zip(corners[chosen].tolist(), uv_corners[chosen].tolist(), strict=True)
        ]
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_mtl(path: Path, textures: dict[str, str]) -> None:
    """Write a material library atomically: material name -> name of its image file.

    The light is part of the images, so the materials have no highlight.
    """
    blocks = [
        f"newmtl {name}\nKa 1 1 1\nKd 1 1 1\nKs 0 0 0\nillum 1\nmap_Ka {image}\nmap_Kd {image}\n"
        for name, image in textures.items()
    ]
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join(blocks), encoding="utf-8")


def write_ply(path: Path, mesh: TexturedMesh, colours: np.ndarray, comment: str) -> None:
    """Write a binary little-endian PLY atomically: positions, normals, colours, faces.

    Args:
        path: the .ply file.
        mesh: the mesh; its UVs are not written.
        colours: uint8 [V, 3].
        comment: a line for the header.
    """
    exported = trimesh.Trimesh(
        mesh.vertices, mesh.faces, vertex_normals=mesh.normals, vertex_colors=colours, process=False
    )
    content = exported.export(file_type="ply", encoding="binary", vertex_normal=True)
    header = f"ply\nformat binary_little_endian 1.0\ncomment {comment}\n".encode()
    with atomic_path(path) as temporary:
        temporary.write_bytes(header + content[content.index(b"element vertex") :])
