"""A reference reader of GLB files: morph targets, node hierarchy and skinning in plain numpy.

It follows the glTF 2.0 specification and shares only the library that parses the JSON with the writer; which vertex of
the head a vertex is, is told by the writer.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from pygltflib import GLTF2
from scipy.spatial.transform import Rotation

from nha.export.glb_mesh import material_parts, split_at_seams
from nha.head.model import HeadModel

_TYPE = {5121: np.uint8, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
_SIZE = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}


class GlbTwin:
    """A GLB file with one skinned mesh."""

    def __init__(self, path: Path) -> None:
        self.gltf = GLTF2().load_binary(str(path))
        self.blob = self.gltf.binary_blob()
        (self.skin,), (self.mesh,) = self.gltf.skins, self.gltf.meshes
        (self.body,) = [i for i, node in enumerate(self.gltf.nodes) if node.skin is not None]
        self.parent = {child: i for i, node in enumerate(self.gltf.nodes) for child in node.children or []}

    def bytes_of(self, view: int) -> bytes:
        v = self.gltf.bufferViews[view]
        return self.blob[v.byteOffset or 0 : (v.byteOffset or 0) + v.byteLength]

    def values(self, accessor: int) -> np.ndarray:
        a = self.gltf.accessors[accessor]
        if a.sparse is not None:
            assert a.bufferView is None
            table = np.zeros((a.count, _SIZE[a.type]), _TYPE[a.componentType])
            at, stored = a.sparse.indices, a.sparse.values
            rows = np.frombuffer(self.bytes_of(at.bufferView), _TYPE[at.componentType])
            assert len(rows) == a.sparse.count
            assert (np.diff(rows.astype(int)) > 0).all()
            table[rows] = np.frombuffer(self.bytes_of(stored.bufferView), table.dtype).reshape(len(rows), -1)
        else:
            table = np.frombuffer(self.bytes_of(a.bufferView), _TYPE[a.componentType]).reshape(
                a.count, _SIZE[a.type]
            )
        if a.max:
            assert np.array_equal(table.min(0), np.array(a.min, table.dtype))
            assert np.array_equal(table.max(0), np.array(a.max, table.dtype))
        return table

    def attribute(self, name: str, primitive: int = 0) -> np.ndarray:
        return self.values(getattr(self.mesh.primitives[primitive].attributes, name))

    def triangles(self, primitive: int) -> np.ndarray:
        return self.values(self.mesh.primitives[primitive].indices).reshape(-1, 3)

    def texture(self, primitive: int) -> np.ndarray:
        """The texture of a primitive, uint8 RGB [H, W, 3]."""
        material = self.gltf.materials[self.mesh.primitives[primitive].material]
        info = self.gltf.textures[material.pbrMetallicRoughness.baseColorTexture.index]
        png = np.frombuffer(self.bytes_of(self.gltf.images[info.source].bufferView), np.uint8)
        return cv2.imdecode(png, cv2.IMREAD_COLOR)[..., ::-1]

    def initial(self) -> tuple[dict[tuple[int, str], np.ndarray], np.ndarray]:
        """Rotations and translations by (node, path), and morph weights, while no animation is played."""
        tracks = {}
        for i, node in enumerate(self.gltf.nodes):
            tracks[i, "rotation"] = np.array(node.rotation or [0, 0, 0, 1], float)
            tracks[i, "translation"] = np.array(node.translation or [0, 0, 0], float)
        return tracks, np.array(self.mesh.weights, float)

    def key(self, k: int, name: str = "video") -> tuple[float, dict[tuple[int, str], np.ndarray], np.ndarray]:
        """Time in seconds, tracks and morph weights of keyframe k of an animation."""
        tracks, weights = self.initial()
        (animation,) = [a for a in self.gltf.animations if a.name == name]
        for channel in animation.channels:
            sampler = animation.samplers[channel.sampler]
            times, values = self.values(sampler.input)[:, 0], self.values(sampler.output).astype(float)
            row = values.reshape(len(times), -1)[k]
            if channel.target.path == "weights":
                assert channel.target.node == self.body
                weights = row
            else:
                tracks[channel.target.node, channel.target.path] = row
        return float(times[k]), tracks, weights

    def world(self, node: int, tracks: dict[tuple[int, str], np.ndarray]) -> np.ndarray:
        """4 x 4, of column vectors."""
        local = np.eye(4)
        local[:3, :3] = Rotation.from_quat(tracks[node, "rotation"]).as_matrix()
        local[:3, 3] = tracks[node, "translation"]
        return self.world(self.parent[node], tracks) @ local if node in self.parent else local

    def vertices(self, tracks: dict[tuple[int, str], np.ndarray], weights: np.ndarray) -> np.ndarray:
        """The posed mesh [W, 3], the vertices of its primitives one after the other; see `rows`."""
        # a matrix is stored column by column
        inverse_bind = self.values(self.skin.inverseBindMatrices).reshape(-1, 4, 4).transpose(0, 2, 1)
        maps = [self.world(node, tracks) @ inverse_bind[j] for j, node in enumerate(self.skin.joints)]
        return np.concatenate(
            [self._posed(number, weights, maps) for number in range(len(self.mesh.primitives))]
        )

    def target(self, index: int, name: str = "POSITION") -> np.ndarray:
        """A morph target's change of an attribute [W, 3]."""
        stored = [primitive.targets[index] for primitive in self.mesh.primitives]
        return np.concatenate(
            [self.values(t[name] if isinstance(t, dict) else getattr(t, name)) for t in stored]
        )

    def _posed(self, primitive: int, weights: np.ndarray, maps: list[np.ndarray]) -> np.ndarray:
        points = self.attribute("POSITION", primitive).astype(float)
        for weight, target in zip(weights, self.mesh.primitives[primitive].targets, strict=True):
            index = target["POSITION"] if isinstance(target, dict) else target.POSITION
            points = points + weight * self.values(index)
        points = np.concatenate([points, np.ones((len(points), 1))], 1)
        ids = self.attribute("JOINTS_0", primitive)
        shares = self.attribute("WEIGHTS_0", primitive).astype(float)
        assert np.allclose(shares.sum(1), 1, atol=1e-6)
        posed = np.zeros((len(points), 3))
        for k in range(4):
            for j, matrix in enumerate(maps):
                chosen = ids[:, k] == j
                posed[chosen] += shares[chosen, k : k + 1] * (points[chosen] @ matrix.T)[:, :3]
        return posed


def rows(head: HeadModel) -> np.ndarray:
    """The head's vertex that each vertex of a file is, [W]."""
    mesh = split_at_seams(head)
    return np.concatenate([mesh.vertex[part.rows] for part in material_parts(head, mesh)])
