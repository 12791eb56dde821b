"""A posed head without a rig as one binary glTF, made anew for each pose: for viewers that draw what they are sent."""

from __future__ import annotations

import numpy as np
import pygltflib as gl
import torch

from nha.export.bake import MAPS
from nha.export.glb_file import GlbFile, png_of
from nha.export.split import split_at_seams
from nha.head.model import HeadModel


class StillHead:
    """The parts of the file that do not change with the pose.

    `glb(vertices)` gives the file's bytes for vertices [V, 3] in metres.
    """

    def __init__(self, head: HeadModel, textures: tuple[np.ndarray, np.ndarray], gain: float = 1.0) -> None:
        """textures: uint8 [R, R, 3] of the head's and the mouth's map; gain: as of `GlbFile.material`."""
        self._gain = gain
        self._split = split_at_seams(head)
        self._pictures = [png_of(texture) for texture in textures]
        uv_map = head.face_uvmap.cpu().numpy()
        self._corners = [
            self._split.faces[uv_map == i].reshape(-1).astype(np.uint32) for i in range(len(MAPS))
        ]

    def glb(self, vertices: torch.Tensor) -> bytes:
        """The head at `vertices` [V, 3]; unlit, so that it needs no normals."""
        file, uvs = GlbFile(""), self._split.uvs
        points = vertices.detach().cpu().numpy().astype(np.float32)[self._split.vertex]
        texture_uvs = np.stack([uvs[:, 0], 1 - uvs[:, 1]], 1).astype(np.float32)  # glTF has v down
        attributes = gl.Attributes(
            POSITION=file.accessor(points, gl.ARRAY_BUFFER, bounds=True),
            TEXCOORD_0=file.accessor(texture_uvs, gl.ARRAY_BUFFER),
        )
        primitives = [
            gl.Primitive(
                attributes=attributes,
                indices=file.accessor(corners, gl.ELEMENT_ARRAY_BUFFER),
                material=file.material(name, png, self._gain),
                mode=gl.TRIANGLES,
            )
            for name, png, corners in zip(MAPS, self._pictures, self._corners, strict=True)
            if len(corners)
        ]
        file.gltf.meshes.append(gl.Mesh(name="head", primitives=primitives))
        node = file.node(gl.Node(name="head", mesh=0))
        file.gltf.scenes.append(gl.Scene(nodes=[node]))
        return file.to_bytes()
