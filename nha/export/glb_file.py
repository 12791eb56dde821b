"""Writing binary glTF files: accessors, nodes, unlit materials.

Materials are unlit (`KHR_materials_unlit`): the light of the video is in the textures.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pygltflib as gl

from nha.core.finite import TRAIN_AGAIN, require_finite
from nha.core.system import atomic_path

GENERATOR = "nha export"
UNLIT = "KHR_materials_unlit"

_COMPONENT = {
    np.uint8: gl.UNSIGNED_BYTE,
    np.uint16: gl.UNSIGNED_SHORT,
    np.uint32: gl.UNSIGNED_INT,
    np.float32: gl.FLOAT,
}
_SHAPE = {1: gl.SCALAR, 2: gl.VEC2, 3: gl.VEC3, 4: gl.VEC4, 16: gl.MAT4}


def encode_png(image: np.ndarray) -> bytes:
    """An RGB image uint8 [H, W, 3] as the content of a PNG file."""
    done, png = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    if not done:
        raise ValueError(f"cannot encode an image of shape {list(image.shape)} as PNG")
    return png.tobytes()


class GlbFile:
    """A binary glTF file under construction; `gltf` is its JSON part. Methods store something and return its index."""

    def __init__(self, copyright_line: str) -> None:
        asset = gl.Asset(version="2.0", generator=GENERATOR, copyright=copyright_line or None)
        self.gltf = gl.GLTF2(asset=asset, scene=0, extensionsUsed=[UNLIT])
        self._data = bytearray()

    def node(self, node: gl.Node) -> int:
        """Store a node."""
        self.gltf.nodes.append(node)
        return len(self.gltf.nodes) - 1

    def view(self, data: bytes, target: int | None = None) -> int:
        """Store bytes as a buffer view, aligned to four bytes; target: what a GPU uses them for."""
        self._data += b"\0" * (-len(self._data) % 4)
        self.gltf.bufferViews.append(
            gl.BufferView(buffer=0, byteOffset=len(self._data), byteLength=len(data), target=target)
        )
        self._data += data
        return len(self.gltf.bufferViews) - 1

    def accessor(self, values: np.ndarray, target: int | None = None, bounds: bool = False) -> int:
        """Store values [n] or [n, c] of an accessor; bounds: with their minimum and maximum."""
        table = np.ascontiguousarray(values.reshape(len(values), -1))
        _require_finite(table)
        low, high = (table.min(0).tolist(), table.max(0).tolist()) if bounds else (None, None)
        self.gltf.accessors.append(
            gl.Accessor(
                bufferView=self.view(table.tobytes(), target),
                componentType=_COMPONENT[table.dtype.type],
                count=len(table),
                type=_SHAPE[table.shape[1]],
                min=low,
                max=high,
            )
        )
        return len(self.gltf.accessors) - 1

    def sparse_accessor(self, values: np.ndarray) -> int:
        """Store values [n, c] of an accessor with bounds; only the rows that are not zero where that is smaller."""
        table = np.ascontiguousarray(values)
        _require_finite(table)
        rows = table.any(1).nonzero()[0]
        row_type = np.uint16 if len(table) < 2**16 else np.uint32
        if len(rows) * (row_type().itemsize + table[0].nbytes) >= table.nbytes:
            return self.accessor(table, gl.ARRAY_BUFFER, bounds=True)
        stored = rows if len(rows) else np.zeros(1, int)  # glTF asks for at least one row
        sparse = gl.Sparse(
            count=len(stored),
            indices=gl.AccessorSparseIndices(
                bufferView=self.view(stored.astype(row_type).tobytes()), componentType=_COMPONENT[row_type]
            ),
            values=gl.AccessorSparseValues(bufferView=self.view(table[stored].tobytes())),
        )
        self.gltf.accessors.append(
            gl.Accessor(
                bufferView=None,
                byteOffset=None,  # not allowed without a buffer view
                componentType=_COMPONENT[table.dtype.type],
                count=len(table),
                type=_SHAPE[table.shape[1]],
                min=table.min(0).tolist(),
                max=table.max(0).tolist(),
                sparse=sparse,
            )
        )
        return len(self.gltf.accessors) - 1

    def material(self, name: str, png: bytes, gain: float = 1.0) -> int:
        """Store an unlit material with a texture, visible from both sides as the avatar's own mesh is.

        Args:
            name: of material, texture and image.
            png: the texture as a PNG file.
            gain: factor on the texture's linear colours. glTF allows 0..1; the viewer's page takes larger ones.
        """
        gltf = self.gltf
        gltf.images.append(gl.Image(name=name, bufferView=self.view(png), mimeType="image/png"))
        if not gltf.samplers:
            edge = gl.CLAMP_TO_EDGE
            gltf.samplers.append(
                gl.Sampler(magFilter=gl.LINEAR, minFilter=gl.LINEAR_MIPMAP_LINEAR, wrapS=edge, wrapT=edge)
            )
        gltf.textures.append(gl.Texture(name=name, source=len(gltf.images) - 1, sampler=0))
        gltf.materials.append(
            gl.Material(
                name=name,
                pbrMetallicRoughness=gl.PbrMetallicRoughness(
                    baseColorFactor=[gain, gain, gain, 1.0],
                    baseColorTexture=gl.TextureInfo(index=len(gltf.textures) - 1),
                    metallicFactor=0.0,
                    roughnessFactor=1.0,
                ),
                doubleSided=True,
                alphaCutoff=None,
                extensions={UNLIT: {}},
            )
        )
        return len(gltf.materials) - 1

    def to_bytes(self) -> bytes:
        """The content of the finished file; nothing can be stored afterwards."""
        self.gltf.buffers.append(gl.Buffer(byteLength=len(self._data)))
        self.gltf.set_binary_blob(bytes(self._data))
        return b"".join(self.gltf.save_to_bytes())

    def save(self, path: Path) -> None:
        """Write the finished file atomically."""
        content = self.to_bytes()
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)


def _require_finite(values: np.ndarray) -> None:
    require_finite({"an array": values}, "the GLB file that was to be written", TRAIN_AGAIN)
