"""The head's mesh in glTF: one UV per vertex, a primitive for each texture map, and files without a rig."""

from __future__ import annotations

from collections.abc import Sequence
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


def add_primitives(
    file: GlbFile,
    corners: Sequence[np.ndarray],
    attributes: gl.Attributes,
    pngs: Sequence[bytes],
    *,
    targets: Sequence[gl.Attributes] = (),
    gain: float = 1.0,
) -> list[gl.Primitive]:
    """Store triangles and materials; returns a primitive for each of `MAPS` that has triangles.

    Args:
        file: the file.
        corners: for each of `MAPS`, vertex ids [3 F] of an unsigned type.
        attributes: of the vertices, shared by the primitives.
        pngs: for each of `MAPS`, its texture as a PNG file.
        targets: morph targets, shared by the primitives.
        gain: see `GlbFile.material`.
    """
    return [
        gl.Primitive(
            attributes=attributes,
            indices=file.accessor(ids, gl.ELEMENT_ARRAY_BUFFER),
            material=file.material(name, png, gain),
            targets=list(targets),
            mode=gl.TRIANGLES,
        )
        for name, ids, png in zip(MAPS, corners, pngs, strict=True)
        if len(ids)
    ]


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
        file, mesh = GlbFile(""), self._mesh
        points = vertices.detach().cpu().numpy().astype(np.float32)[mesh.vertex]
        attributes = gl.Attributes(
            POSITION=file.accessor(points, gl.ARRAY_BUFFER, bounds=True),
            TEXCOORD_0=file.accessor(mesh.uvs, gl.ARRAY_BUFFER),
        )
        primitives = add_primitives(file, mesh.corners, attributes, self._pngs, gain=self._gain)
        if opacity < 1:
            for material in file.gltf.materials:
                material.alphaMode = gl.BLEND
                material.pbrMetallicRoughness.baseColorFactor[3] = opacity
        file.gltf.meshes.append(gl.Mesh(name="head", primitives=primitives))
        node = file.node(gl.Node(name="head", mesh=0))
        file.gltf.scenes.append(gl.Scene(nodes=[node]))
        return file.to_bytes()
