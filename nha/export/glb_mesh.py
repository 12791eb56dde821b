"""The head's mesh in glTF: one UV per vertex, a primitive for each material, and files without a rig."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pygltflib as gl
import torch

from nha.export.glb_file import GlbFile, encode_png
from nha.export.textures import MAPS, Textures
from nha.head.model import HeadModel


@dataclass(frozen=True)
class SplitMesh:
    """The head's mesh with one UV per vertex; vertices at UV seams are repeated.

    Attributes:
        vertex: [W], the head's vertex that each vertex is.
        uvs: [W, 2] in 0..1, v down as in glTF.
        corners: for each of `MAPS` the corners of its triangles, uint32 [3 F], counter-clockwise outside.
    """

    vertex: np.ndarray
    uvs: np.ndarray
    corners: tuple[np.ndarray, ...]


def split_at_seams(head: HeadModel) -> SplitMesh:
    """Repeat the vertices that have several UVs: in glTF a vertex has one position and one UV."""
    pairs = torch.stack([head.faces, head.uv_faces], -1).reshape(-1, 2)
    unique, index = torch.unique(pairs, dim=0, return_inverse=True)
    faces, uv_map = index.reshape(-1, 3).cpu().numpy(), head.face_uvmap.cpu().numpy()
    uvs = head.uvs[unique[:, 1]].cpu().numpy()
    return SplitMesh(
        vertex=unique[:, 0].cpu().numpy(),
        uvs=np.stack([uvs[:, 0], 1 - uvs[:, 1]], 1).astype(np.float32),
        corners=tuple(faces[uv_map == i].reshape(-1).astype(np.uint32) for i in range(len(MAPS))),
    )


# Materials of the parts of the head, by which artists select and replace them: material, parts, roughness where it is
# lit. A face takes the first whose parts have all of its corners; of the others, those of the mouth's map take "mouth".
_PART_MATERIALS = (
    ("teeth", ("teeth", "upper_teeth", "lower_teeth"), 0.2),
    ("eyes", ("left_eyeball", "right_eyeball"), 0.1),
    ("hair", ("hair",), 0.6),
    ("neck", ("neck", "static_neck"), 0.5),
    ("scalp", ("scalp",), 0.6),
)
_OTHER_MATERIALS = (("face", 0.5), ("mouth", 0.3))  # by the number of the map


@dataclass(frozen=True)
class MaterialPart:
    """The triangles of a `SplitMesh` that have one material.

    Attributes:
        name: of the material.
        uv_map: index into `MAPS`.
        roughness: of the material where it is lit.
        rows: [R], the vertices of the split mesh that the triangles use.
        corners: [3 f], their corners as positions in `rows`, counter-clockwise outside.
    """

    name: str
    uv_map: int
    roughness: float
    rows: np.ndarray
    corners: np.ndarray


def material_parts(head: HeadModel, mesh: SplitMesh) -> list[MaterialPart]:
    """The parts of the mesh that have triangles, "face" first."""
    labels = head.hard_labels.cpu().numpy() > 0
    names = [name for name, _ in _OTHER_MATERIALS] + [name for name, _, _ in _PART_MATERIALS]
    roughness = dict(_OTHER_MATERIALS) | {name: value for name, _, value in _PART_MATERIALS}
    parts = []
    for uv_map, corners in enumerate(mesh.corners):
        triangles = corners.reshape(-1, 3)
        material = np.full(len(triangles), uv_map)
        for number, (_, members, _) in reversed(list(enumerate(_PART_MATERIALS))):
            columns = [head.part(name) for name in members if name in head.part_names]
            for column in columns:
                material[labels[mesh.vertex[triangles], column].all(1)] = len(_OTHER_MATERIALS) + number
        for number in np.unique(material).tolist():
            rows, own = np.unique(triangles[material == number], return_inverse=True)
            part = (names[number], uv_map, roughness[names[number]], rows, own.reshape(-1))
            parts.append(MaterialPart(*part))
    return parts


class StaticHead:
    """A textured head without a rig as GLB, written anew for each pose: for programs that show what they are sent.

    All that does not depend on the pose is prepared once, so that a file takes a millisecond.
    """

    def __init__(self, head: HeadModel, textures: Textures, gain: float = 1.0) -> None:
        """Prepare the head.

        Args:
            head: the head model.
            textures: the head's and the mouth's.
            gain: see `GlbFile.material`.
        """
        self._gain = gain
        self._mesh = split_at_seams(head)
        self._pngs = [encode_png(texture) for texture in textures]

    def glb(self, vertices: torch.Tensor, opacity: float = 1.0) -> bytes:
        """The file's content for vertices [V, 3] in metres. The materials are unlit, so it has no normals."""
        file, mesh = GlbFile(), self._mesh
        points = vertices.detach().cpu().numpy().astype(np.float32)[mesh.vertex]
        attributes = gl.Attributes(
            POSITION=file.accessor(points, gl.ARRAY_BUFFER, bounds=True),
            TEXCOORD_0=file.accessor(mesh.uvs, gl.ARRAY_BUFFER),
        )
        primitives = [
            gl.Primitive(
                attributes=attributes,
                indices=file.accessor(corners, gl.ELEMENT_ARRAY_BUFFER),
                material=file.material(name, file.texture(name, png), self._gain),
                mode=gl.TRIANGLES,
            )
            for name, corners, png in zip(MAPS, mesh.corners, self._pngs, strict=True)
            if len(corners)
        ]
        if opacity < 1:
            for material in file.gltf.materials:
                material.alphaMode = gl.BLEND
                material.pbrMetallicRoughness.baseColorFactor[3] = opacity
        file.gltf.meshes.append(gl.Mesh(name="head", primitives=primitives))
        node = file.node(gl.Node(name="head", mesh=0))
        file.gltf.scenes.append(gl.Scene(nodes=[node]))
        return file.to_bytes()
