"""What training frames show of a head's surface, and the texels on it. Used by `unseen_colours.py`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from nha.avatar.uv_texels import mesh_texels
from nha.head.model import HeadModel

_OTHER_SIDE = 0.004  # metres to a mirrored texel; at twice the distance it does not count
_OPPOSITE_NORMALS = 0.02  # metres that count as much: front and back of an ear lie close to each other


@dataclass(frozen=True)
class SeenSurface:
    """What the frames show of the colours of V vertices.

    Attributes:
        kept: [V] in 0..1, 0 at vertices whose colours are replaced.
        continued: bool [V], vertices of the parts whose colours are continued.
        own_detail: [V] in 0..1, 0 at vertices whose detail is replaced, too.
        hair_distance: [V] metres to the hairline, positive in hair.
        surely_hair: bool [V], seen vertices with hair around them.
        plain_skin: bool [V], vertices whose seen skin stands for skin that no frame shows.
        mirrored: [V] the vertex on the other side of the head.
        edges: [E, 2] vertex ids.
    """

    kept: np.ndarray
    continued: np.ndarray
    own_detail: np.ndarray
    hair_distance: np.ndarray
    surely_hair: np.ndarray
    plain_skin: np.ndarray
    mirrored: np.ndarray
    edges: np.ndarray


@dataclass(frozen=True)
class SurfaceTexels:
    """The P texels of a map on the mesh.

    Attributes:
        corners: [P, 3] vertices of their faces.
        barycentric: [P, 3].
        place: [P] row in the flattened map.
        position: [P, 3] metres on the resting head.
        normal: [P, 3] of their faces, unit vectors.
    """

    corners: np.ndarray
    barycentric: np.ndarray
    place: np.ndarray
    position: np.ndarray
    normal: np.ndarray

    @classmethod
    def of_head(cls, head: HeadModel, size: int) -> SurfaceTexels:
        """The texels of the head's own map with a side of `size` texels."""
        texels = mesh_texels(head, 0, size)
        corners = head.faces[texels.face].cpu().numpy()
        barycentric = texels.barycentric.double().cpu().numpy()
        rest = head.template[head.kept_vertices].double().cpu().numpy()[corners]
        normal = np.cross(rest[:, 1] - rest[:, 0], rest[:, 2] - rest[:, 0])
        normal /= np.linalg.norm(normal, axis=1, keepdims=True).clip(1e-12)
        position = np.einsum("pkx,pk->px", rest, barycentric)
        return cls(corners, barycentric, texels.pixel.cpu().numpy(), position, normal)

    def interpolate(self, values: np.ndarray) -> np.ndarray:
        """Values [V] or [V, C] of the vertices as [P] or [C, P]."""
        return np.einsum("pk...,pk->...p", values[self.corners], self.barycentric)

    def other_side(self) -> tuple[np.ndarray, np.ndarray]:
        """For each texel, the one that is nearest to its mirror image: rows [P], and how good it is [P] in 0..1."""
        flip = np.array([-1.0, 1, 1])
        here, there = (
            np.concatenate([self.position * sign, self.normal * sign * (_OPPOSITE_NORMALS / 2)], 1)
            for sign in (1, flip)
        )
        distance, row = cKDTree(here).query(there)
        return row, np.clip(2 - distance / _OTHER_SIDE, 0, 1)
