"""Texels that no frame shows, continued over the mesh from those that frames show. `docs/method.md`, section 3.

Level and detail are continued apart: the level smoothly from the border, the detail of hair from hair that is seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt

from nha.avatar.hair_detail import HairPoints, mirrored_points
from nha.avatar.mesh_fill import continue_values, smoothed_values
from nha.avatar.uv_texels import mesh_texels
from nha.head.model import HeadModel
from nha.nets.blend_textures import PyramidImages

_LEVEL_SMOOTHING = 3  # times that vertices are averaged with their neighbours; what it removes is detail
_SEEN = 0.99  # of a texel that is kept
# Detail beyond these percentiles of the seen detail is limited: at the border of what is seen, texels hold single
# very bright or dark values.
_DETAIL_PERCENTILES = (5, 95)
_TINY = 1e-12


@dataclass(frozen=True)
class SeenSurface:
    """What the frames show of the colours of V vertices.

    Attributes:
        kept: [V] in 0..1, 0 at vertices whose colours are replaced.
        continued: bool [V], vertices of the parts whose colours are continued.
        own_detail: [V] in 0..1, 0 at vertices whose detail is replaced, too.
        hair: bool [V], vertices of the scalp with hair.
        surely_hair: bool [V], seen vertices with hair around them.
        edges: [E, 2] vertex ids.
        edge_weights: [E], see `continue_values`.
    """

    kept: np.ndarray
    continued: np.ndarray
    own_detail: np.ndarray
    hair: np.ndarray
    surely_hair: np.ndarray
    edges: np.ndarray
    edge_weights: np.ndarray


@dataclass(frozen=True)
class _Texels:
    """The P texels of a map on the mesh: corners [P, 3] of their faces, barycentrics [P, 3], places [P] in the map."""

    corners: np.ndarray
    barycentric: np.ndarray
    place: np.ndarray

    @classmethod
    def of_head(cls, head: HeadModel, size: int) -> _Texels:
        texels = mesh_texels(head, 0, size)
        corners = head.faces[texels.face].cpu().numpy()
        return cls(corners, texels.barycentric.double().cpu().numpy(), texels.pixel.cpu().numpy())

    def interpolate(self, values: np.ndarray) -> np.ndarray:
        """Values [V] or [V, C] of the vertices as [P] or [C, P]."""
        return np.einsum("pk...,pk->...p", values[self.corners], self.barycentric)


@torch.no_grad()
def continue_texels(
    head: HeadModel, images: PyramidImages, surface: SeenSurface, *, with_detail: bool
) -> None:
    """Replace texels of the head's map that no frame shows.

    Args:
        head: the head model.
        images: C images of the head's UV map.
        surface: what the frames show.
        with_detail: continue fine detail, too, not only the smooth level.
    """
    before = images()
    flat = before.flatten(1).double().cpu().numpy()  # [C, R * R]
    texels = _Texels.of_head(head, images.size)
    share = np.clip(texels.interpolate(surface.kept), 0, 1)
    level = _level(flat, texels, share, surface)
    if with_detail:
        level = smoothed_values(level, surface.edges, surface.edge_weights, _LEVEL_SMOOTHING)
    continued = texels.interpolate(level)
    if with_detail:
        continued += _detail(head, flat[:, texels.place] - continued, texels, share, surface)
    after = flat.copy()
    after[:, texels.place] = share * flat[:, texels.place] + (1 - share) * continued
    _continue_margin(flat, after, texels.place, share, images.size)
    images.replace(torch.from_numpy(after).view_as(before).to(before))


def _level(flat: np.ndarray, texels: _Texels, share: np.ndarray, surface: SeenSurface) -> np.ndarray:
    """[V, C] the mean of the kept texels around each vertex, continued where there are none.

    flat: [C, R * R]; share: [P], how much of each texel is kept.
    """
    n_vertices = len(surface.kept)
    amount, total = np.zeros(n_vertices), np.zeros((n_vertices, len(flat)))
    for corner in range(3):
        weight = texels.barycentric[:, corner] * share
        np.add.at(amount, texels.corners[:, corner], weight)
        np.add.at(total, texels.corners[:, corner], weight[:, None] * flat[:, texels.place].T)
    free = (surface.kept < 0.5) | (amount < _TINY)
    return continue_values(
        total / np.maximum(amount, _TINY)[:, None], free, surface.edges, surface.edge_weights
    )


def _detail(
    head: HeadModel, own: np.ndarray, texels: _Texels, share: np.ndarray, surface: SeenSurface
) -> np.ndarray:
    """[C, P] the detail of continued texels: their own where frames show it at a small angle, else that of seen hair.

    own: [C, P], the texels less their level; share: [P], how much of each texel is kept.
    """
    hair = surface.hair[texels.corners].all(1)
    source = (share > _SEEN) & hair & surface.surely_hair[texels.corners].all(1)
    skin = (share > _SEEN) & ~hair & surface.continued[texels.corners].all(1)
    limited = np.zeros_like(own)
    for group, seen in ((hair, source), (~hair, skin)):
        if seen.any():
            low, high = np.percentile(own[:, seen], _DETAIL_PERCENTILES, axis=1)[:, :, None]
            limited[:, group] = np.clip(own[:, group], low, high)
    own_share = np.clip(texels.interpolate(surface.own_detail), 0, 1)
    detail = own_share * limited
    if source.any():
        rest = head.template[head.kept_vertices].double().cpu().numpy()
        position = texels.interpolate(rest).T[hair]
        row, found = mirrored_points(HairPoints.unrolled(position, _ear_axis(head, rest)), source[hair])
        detail[:, hair] += (1 - own_share[hair]) * found * limited[:, hair][:, row]
    return detail


def _ear_axis(head: HeadModel, rest: np.ndarray) -> np.ndarray:
    """[3] the point between the ears of the resting head's vertices [V, 3]."""
    soft = head.soft_labels.cpu().numpy()
    ears = [rest[soft[:, head.part(name)] > 0.5].mean(0) for name in ("left_ear", "right_ear")]
    return np.mean(ears, axis=0)


def _continue_margin(
    before: np.ndarray, after: np.ndarray, place: np.ndarray, share: np.ndarray, size: int
) -> None:
    """Write to `after` [C, R * R] the texels beside the charts, which bilinear sampling reads, from the nearest ones.

    place, share: [P] the texels on the mesh, and how much of `before` is kept there.
    """
    covered, kept = np.zeros(size * size, bool), np.ones(size * size)
    covered[place], kept[place] = True, share
    row, column = distance_transform_edt(
        ~covered.reshape(size, size), return_distances=False, return_indices=True
    )
    nearest = (row * size + column).ravel()
    beside = ~covered & (kept[nearest] < 1)
    source = nearest[beside]
    after[:, beside] = kept[source] * before[:, beside] + (1 - kept[source]) * after[:, source]
